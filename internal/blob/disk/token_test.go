// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"testing"

	"dossier.dev/dossier"
)

func FuzzParseToken(f *testing.F) {
	h := sha256.New()
	h.Write([]byte("some bytes"))
	sum, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(state{Key: "abcdefgh", Size: 10, Hash: sum})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("10"), []byte("-1"), 1))
	f.Add([]byte(`{"key":"abcdefgh","size":1,"sha256":"AAAA"}`))
	f.Add([]byte(`{"key":"../../x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, token []byte) {
		size, h, _, err := parseToken("abcdefgh", token)
		if err != nil {
			if got := dossier.KindOf(err); got != dossier.KindInvalid {
				t.Errorf("error %v has kind %q", err, got)
			}
			return
		}
		if size < 0 {
			t.Errorf("size is %d", size)
		}
		h.Write([]byte("more")) // a state that was accepted can be used
		h.Sum(nil)
	})
}
