// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
)

func (p *program) scanCommand() *cobra.Command {
	out := outputFlags{more: findingFormats()}
	var q server.ScanQuery
	var fail failOn
	var rules ruleFiles
	cmd := &cobra.Command{
		Use:   "scan DIR|IMAGE|SBOM",
		Short: "Known vulnerabilities of a directory, an image or a bill of materials",
		Long: `Read what a directory, an image or a bill of materials holds, and list the known
vulnerabilities of it. Nothing else is needed: no server and no cluster. The
advisories are those that dossier db update or dossier db import got.

DIR is a root file system, or a project, of which the files that name its
dependencies are read too (go.mod, package-lock.json, requirements.txt, ...); SBOM a file of CycloneDX, SPDX or
Syft as JSON; IMAGE is as for dossier show, a layout or an archive may be given
by its path alone. What lies there as a file or a directory goes before an image
of that name.

What cannot be judged is listed as not assessable, with the reason. What a VEX
document or a file of ignores takes out is listed as suppressed, with who said so;
an ignore ends by itself when its time is over. With --fail-on
the exit code is 3 when a finding is all of the words that it gives: a severity
(that one or worse), fixable, exploited, present. Given several times, one is enough.`,
		Example: `  dossier db update Debian npm && dossier scan registry.example/shop:1.4
  dossier scan ./rootfs -o sarif > findings.sarif
  dossier scan bom.cdx.json --fail-on critical --fail-on high,fixable
  dossier scan shop:1.4 --vex vendor.vex.json --ignore ignore.yaml --fail-on high
  dossier scan docker-archive:shop.tar -o json`,
		Args: oneArg("one DIR, IMAGE or SBOM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Target, q.VEX, q.Ignore = args[0], rules.vex, rules.ignore
			return p.scan(cmd.Context(), q, out, fail)
		},
	}
	out.register(cmd.Flags())
	fail.register(cmd.Flags())
	cmd.Flags().StringVar(&q.Platform, "platform", "", "`os/arch` of an image for several (default: linux/amd64, or else the first)")
	rules.register(cmd.Flags(), "`file` with a VEX document (OpenVEX, CSAF, CycloneDX) that says what does not count, or \"attached\" for those attached to the image; may be given again")
	cmd.Flags().DurationVar(&q.MaxAge, "max-age", 72*time.Hour, "how old advisories may be before that is said")
	return cmd
}

func (p *program) scan(ctx context.Context, q server.ScanQuery, out outputFlags, fail failOn) error {
	if err := out.check(); err != nil {
		return err
	}
	if err := fail.parse(); err != nil {
		return err
	}
	if err := p.checkStore(); err != nil {
		return err
	}
	if p.global.server != "" {
		p.note("%s is read in this process; the server is not asked", render.Clean(q.Target))
	}
	m := p.meter()
	defer m.clear()
	m.report("reading "+render.Clean(q.Target), 0, 1)
	q.Stale = func(err error) { p.note("answering from what is stored: %s", render.Clean(err.Error())) }
	list, err := server.Scan(ctx, p.trusting(p.engineConfig()), q)
	m.clear()
	if err != nil {
		return err
	}
	if err := p.writeFindings(list, out); err != nil {
		return err
	}
	return fail.judge(p, list)
}

// ruleFiles are files that say which findings do not count.
type ruleFiles struct{ vex, ignore []string }

func (r *ruleFiles) register(f *pflag.FlagSet, vex string) {
	f.StringArrayVar(&r.vex, "vex", nil, vex)
	f.StringArrayVar(&r.ignore, "ignore", nil, "`file` that lists what to ignore, each with owner, reason and expiry; may be given again")
}

// findingFormats are the formats of others in which findings are written.
func findingFormats() []string { return []string{"sarif", "openvex", "cyclonedx-vex"} }

// writeFindings prints findings, and on stderr what must be known to read them.
func (p *program) writeFindings(list dossier.FindingList, out outputFlags) error {
	for _, n := range list.Notes {
		p.note("%s", render.Clean(n))
	}
	switch out.format {
	case "sarif":
		return render.SARIF(p.stdout, list, readVersion().Version)
	case "openvex":
		return render.OpenVEX(p.stdout, list, "", readVersion().Version)
	case "cyclonedx-vex":
		return render.CycloneDXVEX(p.stdout, list, readVersion().Version)
	}
	return out.write(p, list, func(o render.Options) error { return render.Findings(p.stdout, list, o) })
}
