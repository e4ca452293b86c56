// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

func FuzzParseToken(f *testing.F) {
	h := sha256.New()
	h.Write([]byte("some bytes"))
	sum, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	good := state{Key: "abcdefgh", Mark: "12345678", Upload: "an upload", Size: 10, Hash: sum, PartSize: MinPartSize, Tail: []byte("some bytes")}
	large := good
	large.Size, large.Parts, large.Tail = 3*MinPartSize+10, 3, nil
	large.Stored, large.Before = stored{Name: "12345678", Sum: sum}, "23456789"
	for _, s := range []state{good, large} {
		token, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		if _, _, err := parseToken("abcdefgh", token); err != nil {
			f.Errorf("%s: %v", token, err)
		}
		f.Add(token)
		f.Add(bytes.ReplaceAll(token, []byte("10"), []byte("-1")))
		f.Add(bytes.Replace(token, []byte("12345678"), []byte("../../x"), 1))
		f.Add(bytes.Replace(token, []byte(`"parts":`), []byte(`"parts":99999999999`), 1))
	}
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, token []byte) {
		s, h, err := parseToken("abcdefgh", token)
		if err != nil {
			if got := dossier.KindOf(err); got != dossier.KindInvalid {
				t.Errorf("error %v has kind %q", err, got)
			}
			return
		}
		if n := s.tailSize(); n < 0 || n >= int64(s.PartSize) || s.Parts < 0 || s.Parts >= maxParts || s.PartSize > MaxPartSize {
			t.Errorf("%s is accepted: %d parts of %d, and %d bytes", token, s.Parts, s.PartSize, n)
		}
		for _, name := range []string{s.Mark, s.Stored.Name, s.Before} {
			if name != "" && blob.CheckKey(name) != nil {
				t.Errorf("%s is accepted: it names %q", token, name)
			}
		}
		h.Write([]byte("more")) // a state that was accepted can be used
		h.Sum(nil)
	})
}
