// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// summaryFlags say who signs a summary of what was verified.
type summaryFlags struct{ key, verifier string }

func (s *summaryFlags) register(f *pflag.FlagSet) {
	f.StringVar(&s.key, "sign-with", "", "with -o vsa: `file` with the private key that signs the summary")
	f.StringVar(&s.verifier, "verifier", defaultVerifier, "with -o vsa: `URI` of who verified")
}

// defaultVerifier is who verifies when nobody says who.
const defaultVerifier = "https://dossier.dev/verify"

// formatSummary is the form of output for other verifiers.
const formatSummary = "vsa"

// check refuses a key that nothing is signed with, and nothing that should be signed.
func (s *summaryFlags) check(out outputFlags, fresh bool) error {
	switch {
	case out.format == formatSummary && fresh:
		return usageError{dossier.Errorf(dossier.KindUnsupported, "reading flag", "--fresh", "a summary is about a digest, and does not say how fresh a tag is: ask for one after the other")}
	case out.format == formatSummary && s.key == "":
		return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("a summary must be signed, and no --sign-with is given"), Hint: "make a key with dossier keygen NAME"}}
	case out.format != formatSummary && s.key != "":
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--sign-with", "it goes with -o vsa only")}
	}
	return nil
}

// print signs a summary and prints it, and ends the command with 3 when it says no.
func (s *summaryFlags) print(p *program, summary trust.Summary) error {
	key, err := p.privateKey(s.key)
	if err != nil {
		return err
	}
	summary.Verifier, summary.Version = s.verifier, readVersion().Version
	b, err := key.SignEnvelope(summary.Statement())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s\n", b); err != nil {
		return err
	}
	if !summary.Verified {
		return errFound
	}
	return nil
}

// summaryOf is what came of a decision.
func summaryOf(d trust.Decision) trust.Summary {
	s := trust.Summary{
		Subject: d.Asked.Digest, Reference: d.Asked.Reference, At: d.At, Policy: d.Trust,
		Inputs: d.Evidence, Verified: d.Verified, Level: trust.LevelSigned,
	}
	if len(d.Counted) == 0 {
		s.Level = "" // nobody need have signed it
	}
	return s
}

// formOf tells a bundle from a plain DSSE envelope, such as that of a summary.
func formOf(evidence []byte) trust.Form {
	var plain struct {
		PayloadType string `json:"payloadType"`
	}
	if json.Unmarshal(evidence, &plain) == nil && plain.PayloadType != "" {
		return trust.FormEnvelope
	}
	return trust.FormBundle
}
