// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/form"
	"dossier.dev/dossier/internal/proof"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/trust"
)

// showProven writes an answer with what proves it to a file, and shows that answer.
func (p *program) showProven(ctx context.Context, a Prover, ref string, at dossier.Times, out outputFlags, path string) error {
	b, err := a.Proof(ctx, ref, at)
	if err != nil {
		return err
	}
	f, err := proof.Parse(b)
	if err != nil {
		return err
	}
	var d dossier.Dossier
	if err := json.Unmarshal(f.Dossier, &d); err != nil {
		return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading proof", Subject: "dossier", Err: err}
	}
	if b, err = proof.Compress(b); err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return &dossier.Error{Kind: dossier.KindStorage, Op: "writing the proof", Err: err, Hint: "choose another file with --proof"}
	}
	return out.write(p, d, func(o render.Options) error { return render.Dossier(p.stdout, d, o) })
}

// provenFlags are those of verify --proof.
type provenFlags struct{ file, trust, feed string }

func (v *provenFlags) register(f *pflag.FlagSet) {
	f.StringVar(&v.file, "proof", "", "`file` that dossier show --proof wrote, to be checked instead of a bundle")
	f.StringVar(&v.trust, "trust", "", "`file` with the trust policy: whose signatures count for which images, which logs and witnesses are believed")
	f.StringVar(&v.feed, "feed", "", "with --proof: `file or directory` with the advisories that it names, to compare its packages with them again")
}

// args takes no arguments with --proof, and nothing that says who may have signed: that
// would be left aside, and whoever gave it would take it for checked.
func (v *provenFlags) args(without cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if v.file == "" && v.feed != "" {
			return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flag", Subject: "--feed",
				Err: errors.New("it goes with --proof only"), Hint: "name the file that dossier show --proof wrote"}}
		}
		if v.file == "" {
			return without(cmd, args)
		}
		var other verifyFlags
		signers := pflag.NewFlagSet("", pflag.ContinueOnError)
		other.register(signers)
		var err error
		signers.VisitAll(func(f *pflag.Flag) {
			if cmd.Flags().Changed(f.Name) && err == nil {
				err = usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flag", Subject: "--" + f.Name,
					Err: errors.New("it does not go with --proof"), Hint: "what a proof must be signed by stands in the file of --trust"}}
			}
		})
		if err != nil {
			return err
		}
		return noArgs(cmd, args)
	}
}

// verifyProof checks a file that show --proof wrote, and says what it proves.
func (p *program) verifyProof(ctx context.Context, v provenFlags, summary summaryFlags, out outputFlags) error {
	if v.trust == "" {
		return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("no --trust is given"),
			Hint: "name a file with logs: [{key: NAME+HASH+KEY}]; a server tells the key of its log when it starts"}}
	}
	b, err := readLimited(v.trust, proof.MaxTrust)
	if err != nil {
		return err
	}
	believed, err := proof.ParseTrust(b)
	if err != nil {
		return form.In(v.trust, err)
	}
	policy := dossier.FromBytes(b)
	if b, err = readLimited(v.file, proof.MaxFile); err != nil {
		return err
	}
	f, err := proof.Parse(b)
	if err != nil {
		return err
	}
	report, err := proof.Check(f, believed, nil)
	if err != nil {
		return err
	}
	if v.feed != "" {
		if err := server.Recompute(ctx, &report, v.feed); err != nil {
			return err
		}
	}
	if out.format == formatSummary {
		return summary.print(p, trust.Summary{Subject: report.Subject, Reference: report.Ref, At: time.Now(), Policy: policy,
			Inputs: []dossier.Digest{dossier.FromBytes(b)}, Verified: len(report.Faults) == 0, Level: trust.LevelProven})
	}
	err = out.write(p, report, func(render.Options) error { return p.printProof(report) })
	if err == nil && len(report.Faults) > 0 {
		return errFound
	}
	return err
}

func (p *program) printProof(r proof.Report) error {
	var err error
	say := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintln(p.stdout, render.Clean(fmt.Sprintf(format, args...)))
		}
	}
	say("%s", r.Subject)
	say("asked for as %s, answered at %s", r.Ref, r.AsOf.UTC().Format("2006-01-02 15:04:05Z"))
	if len(r.Faults) > 0 {
		say("NOT PROVEN:")
		for _, f := range r.Faults {
			say("  %s", f)
		}
		return err
	}
	for _, q := range dossier.Questions() {
		a := r.Answers.Of(q)
		say("  %-15s %-7s %-8s %s", q, a.Status, a.Grade, a.Summary)
	}
	say("proven:")
	for _, f := range r.Proven {
		say("  by %s: %s", f.By, f.What)
	}
	if len(r.Log.Witnesses) == 0 {
		say("  no witness has signed: that %s shows everybody the same log is not proven", r.Log.Origin)
	}
	say("only claimed:")
	for _, f := range r.Claimed {
		say("  by %s: %s", f.By, f.What)
	}
	return err
}
