// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/scan"
	"dossier.dev/dossier/internal/server"
)

func (p *program) vulnsCommand() *cobra.Command {
	out := outputFlags{more: findingFormats()}
	var at atFlag
	var fail failOn
	var q dossier.FindingQuery
	var explain string
	var rules ruleFiles
	cmd := &cobra.Command{
		Use:   "vulns IMAGE",
		Short: "Known vulnerabilities of an image, each with its proof",
		Long: `List the known vulnerabilities of an image, and the packages of which nothing can
be said. Findings are kept: they follow the advisories without the image being
read again. IMAGE is as for dossier show.

With --explain ID it says why a vulnerability concerns packages of the image, or
does not: which bytes of which advisories say so, and which of their ranges
decides. It then judges again from these bytes alone, on this machine.

What a VEX document or a file of ignores takes out is listed as suppressed, with
who said so; an ignore ends by itself when its time is over. --vex attached is for
the documents that lie beside the image in its registry. Where $DOSSIER_TRUST names a
trust policy, here or at the server, only those count that are signed by who may sign
for the image; without one they are only claimed, and that is said.

--at asks about a past day with what is known now, --known-at with what was known
then. With --fail-on the exit code is 3 as for dossier scan.`,
		Example: `  dossier vulns nginx:1.27
  dossier vulns nginx:1.27 --explain CVE-2024-7347
  dossier vulns nginx:1.27 --known-at 2024-12-01
  dossier vulns nginx:1.27 --fail-on critical,fixable -o sarif
  DOSSIER_TRUST=trust.yaml dossier vulns nginx:1.27 --vex attached`,
		Args: oneArg("one IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if err := fail.parse(); err != nil {
				return err
			}
			var err error
			if q.At, err = at.times(); err != nil {
				return err
			}
			q.Ref = args[0]
			if explain != "" {
				return p.explain(cmd.Context(), q, explain, out)
			}
			return p.vulns(cmd.Context(), q, rules, out, fail)
		},
	}
	out.register(cmd.Flags())
	at.register(cmd.Flags())
	fail.register(cmd.Flags())
	rules.register(cmd.Flags(), "`file` with a VEX document (OpenVEX, CSAF, CycloneDX) that says what does not count, or \"attached\" for those attached to the image; may be given again")
	cmd.Flags().StringVar(&q.Platform, "platform", "", "`os/arch` of an image for several (default: one that runs, or linux/amd64)")
	cmd.Flags().StringVar(&explain, "explain", "", "why the vulnerability with this `ID` concerns packages, or does not")
	return cmd
}

func (p *program) vulns(ctx context.Context, q dossier.FindingQuery, files ruleFiles, out outputFlags, fail failOn) error {
	q.Attached = slices.Contains(files.vex, server.AttachedVEX)
	rules, err := server.ReadRules(slices.DeleteFunc(files.vex, func(path string) bool { return path == server.AttachedVEX }), files.ignore)
	if err != nil {
		return err
	}
	return p.ask(ctx, q.Ref, (*server.Engine).Refresh, func(a Answerer, ref string) error {
		q.Ref = ref
		list, err := a.Findings(ctx, q)
		if err != nil {
			return err
		}
		if len(rules.Documents)+len(rules.Ignores) > 0 {
			held, err := a.SBOM(ctx, dossier.SBOMQuery{Ref: ref, Platform: q.Platform, At: q.At})
			if err != nil {
				return err
			}
			rules.Judge(&list, server.SubjectOf(ref, held), time.Now())
		}
		if err := p.writeFindings(list, out); err != nil {
			return err
		}
		return fail.judge(p, list)
	})
}

func (p *program) explain(ctx context.Context, q dossier.FindingQuery, id string, out outputFlags) error {
	return p.ask(ctx, q.Ref, (*server.Engine).Refresh, func(a Answerer, ref string) error {
		q.Ref = ref
		e, err := a.Explain(ctx, q, id)
		if err != nil {
			return err
		}
		replayed := make([]string, len(e.Packages))
		for i, one := range e.Packages {
			again, err := scan.Replay(one)
			switch {
			case err != nil:
				return err
			case again.Differs != "":
				p.note("%s: judged again from the same bytes, %s", render.Clean(one.Package.PURL), again.Differs)
				replayed[i] = "from these bytes: " + again.Differs
			default:
				replayed[i] = "from these bytes, by this program: the same"
			}
		}
		return out.write(p, e, func(o render.Options) error { return render.Explanation(p.stdout, e, replayed, o) })
	})
}
