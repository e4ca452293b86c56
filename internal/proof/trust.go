// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/form"
	"dossier.dev/dossier/internal/translog"
)

// MaxTrust is how large a trust file may be.
const MaxTrust = 1 << 20 // bytes

// Trust says which logs are believed.
type Trust struct{ Logs []TrustedLog }

// TrustedLog is a log that is believed, when enough witnesses have seen it.
type TrustedLog struct {
	Key       note.Verifier
	Witnesses []*translog.Witness
	Quorum    int // how many of the witnesses must have signed a checkpoint
}

// ParseTrust reads the section "logs" of a trust file (docs/spec/proof.md); other sections are left
// aside. KindInvalid: it is malformed, has a field that is not known (one that is misspelt would ask for no witness), or names no log.
func ParseTrust(b []byte) (Trust, error) {
	const op = "reading the trust file"
	if len(b) > MaxTrust {
		return Trust{}, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has %d bytes, MaxTrust is %d", len(b), MaxTrust))
	}
	const hint = "a log is trusted by: logs: [{key: NAME+HASH+KEY}]"
	fail := func(err error) (Trust, error) {
		return Trust{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err, Hint: hint}
	}
	var file struct {
		Logs []struct {
			Key       string   `yaml:"key"`
			Witnesses []string `yaml:"witnesses"`
			Quorum    int      `yaml:"quorum"`
		} `yaml:"logs"`
		Others map[string]yaml.Node `yaml:",inline"`
	}
	if err := form.Decode(b, &file, op, hint); err != nil {
		return Trust{}, err
	}
	var t Trust
	for i, l := range file.Logs {
		key, err := note.NewVerifier(l.Key)
		if err != nil {
			return fail(fmt.Errorf("logs[%d].key: %w", i, err))
		}
		trusted := TrustedLog{Key: key, Quorum: l.Quorum}
		known := map[string]bool{}
		for j, text := range l.Witnesses {
			w, err := translog.ParseWitness(text)
			if err != nil {
				return fail(fmt.Errorf("logs[%d].witnesses[%d]: %w", i, j, err))
			}
			if known[w.String()] {
				return fail(fmt.Errorf("logs[%d].witnesses[%d]: it is there twice", i, j))
			}
			known[w.String()] = true
			trusted.Witnesses = append(trusted.Witnesses, w)
		}
		if l.Quorum < 0 || l.Quorum > len(l.Witnesses) {
			return fail(fmt.Errorf("logs[%d].quorum: it is %d of %d witnesses", i, l.Quorum, len(l.Witnesses)))
		}
		t.Logs = append(t.Logs, trusted)
	}
	if len(t.Logs) == 0 {
		return fail(errors.New("it has no logs"))
	}
	return t, nil
}

// of returns the log that has a name.
func (t Trust) of(origin string) []TrustedLog {
	var list []TrustedLog
	for _, l := range t.Logs {
		if l.Key.Name() == origin {
			list = append(list, l)
		}
	}
	return list
}
