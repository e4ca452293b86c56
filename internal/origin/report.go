// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"encoding/json"
	"errors"
)

func scanByCosign(b []byte) (*Scan, error) {
	var p struct {
		Scanner struct {
			URI, Version string
			Result       json.RawMessage
		}
		Metadata struct {
			Finished string `json:"scanFinishedOn"`
		}
	}
	if err := lenient(b, &p); err != nil {
		return nil, err
	}
	s := &Scan{Scanner: printable(p.Scanner.URI), Version: printable(p.Scanner.Version), Finished: printable(p.Metadata.Finished)}
	s.Findings = countFindings(p.Scanner.Result)
	return s.needed()
}

// countFindings counts the findings in the forms of Trivy and Grype; of others nothing
// is said.
func countFindings(result json.RawMessage) *int {
	var r struct {
		Results []struct {
			Vulnerabilities []json.RawMessage
		} `json:"Results"`
		Matches []json.RawMessage `json:"matches"`
		Schema  int               `json:"SchemaVersion"`
	}
	if lenient(result, &r) != nil || r.Results == nil && r.Matches == nil && r.Schema == 0 {
		return nil
	}
	n := len(r.Matches)
	for _, x := range r.Results {
		n += len(x.Vulnerabilities)
	}
	return &n
}

func scanByInToto(b []byte) (*Scan, error) {
	var p struct {
		Scanner struct {
			URI, Version string
			Result       []json.RawMessage
		}
		Metadata struct {
			Finished string `json:"scanFinishedOn"`
		}
	}
	if err := lenient(b, &p); err != nil {
		return nil, err
	}
	s := &Scan{Scanner: printable(p.Scanner.URI), Version: printable(p.Scanner.Version), Finished: printable(p.Metadata.Finished)}
	if n := len(p.Scanner.Result); p.Scanner.Result != nil {
		s.Findings = &n
	}
	return s.needed()
}

func (s *Scan) needed() (*Scan, error) {
	if s.Scanner == "" {
		return nil, errors.New("it names no scanner")
	}
	return s, nil
}

func summary(b []byte) (*Summary, error) {
	var p struct {
		Verifier struct{ ID string }
		Verified string `json:"timeVerified"`
		Resource string `json:"resourceUri"`
		Policy   resource
		Result   string   `json:"verificationResult"`
		Levels   []string `json:"verifiedLevels"`
	}
	if err := lenient(b, &p); err != nil {
		return nil, err
	}
	if p.Verifier.ID == "" || p.Result != "PASSED" && p.Result != "FAILED" {
		return nil, errors.New("it names no verifier, or its result is neither PASSED nor FAILED")
	}
	s := &Summary{Verifier: printable(p.Verifier.ID), Verified: printable(p.Verified), Resource: printable(p.Resource), Policy: printable(p.Policy.URI), Result: p.Result}
	for _, l := range p.Levels[:min(len(p.Levels), 20)] {
		s.Levels = append(s.Levels, printable(l))
	}
	return s, nil
}
