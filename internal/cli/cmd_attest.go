// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

func (p *program) attestCommand() *cobra.Command {
	var keyFile, predicateFile, word string
	cmd := &cobra.Command{
		Use:   "attest IMAGE",
		Short: "Sign a statement about an image",
		Long: `Sign a statement about an image with a key: an in-toto statement v1 about its digest,
with the predicate of a JSON file, as a Sigstore bundle that refers to the image in its
registry. cosign verify-attestation verifies it as well.

--type is the URI of the predicate, or slsaprovenance1, slsaprovenance02, spdx, cyclonedx,
vuln, openvex or vsa.`,
		Example: `  dossier attest --key release.key --type cyclonedx --predicate bom.cdx.json registry.example/shop/api:1.4`,
		Args:    oneArg("one IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if predicateFile == "" {
				return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("no --predicate is given")}}
			}
			predicateType, err := trust.Predicate(word)
			if err != nil {
				return usageError{err}
			}
			predicate, err := readLimited(predicateFile, trust.MaxEvidence)
			if err != nil {
				return err
			}
			if !json.Valid(predicate) {
				return fmt.Errorf("%s: %w", predicateFile, dossier.Errorf(dossier.KindInvalid, "reading predicate", "", "it is no JSON"))
			}
			key, err := p.privateKey(keyFile)
			if err != nil {
				return err
			}
			return p.signImage(cmd.Context(), args[0], predicateType, func(d dossier.Digest) ([]byte, error) {
				return key.SignStatement(trust.Statement(d, predicateType, predicate))
			})
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`file` with the private key")
	cmd.Flags().StringVar(&predicateFile, "predicate", "", "JSON `file` with the predicate")
	cmd.Flags().StringVar(&word, "type", "", "`type` of the predicate")
	return cmd
}
