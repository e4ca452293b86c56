// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/base64"
	"fmt"
	"testing"
)

// TestStated: what evidence states is what the verifier reads in it. A field that only
// another reader takes for the envelope says nothing.
func TestStated(t *testing.T) {
	envelope := func(predicateType, predicate string) string {
		payload := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"_type":%q,"predicateType":%q,"subject":[],"predicate":%s}`, statementV1, predicateType, predicate))
		return fmt.Sprintf(`{"payloadType":%q,"payload":%q,"signatures":[{"sig":"c2ln"}]}`, payloadInToto, payload)
	}
	good, evil := envelope("https://example.org/good", `{"good":1}`), envelope("https://example.org/evil", `{"evil":1}`)
	bundle := func(fields string) string {
		return `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},` + fields + `}`
	}
	for name, tt := range map[string]struct {
		evidence Evidence
		want     string
	}{
		"an envelope":        {Evidence{Form: FormEnvelope, Bytes: []byte(good)}, `https://example.org/good {"good":1}`},
		"a bundle":           {Evidence{Form: FormBundle, Bytes: []byte(bundle(`"dsseEnvelope":` + good))}, `https://example.org/good {"good":1}`},
		"another letter":     {Evidence{Form: FormBundle, Bytes: []byte(bundle(`"dsseEnvelope":` + good + `,"DSSEEnvelope":` + evil))}, `https://example.org/good {"good":1}`},
		"a payload beside":   {Evidence{Form: FormBundle, Bytes: []byte(bundle(`"dsseEnvelope":` + good + `,` + evil[1:len(evil)-1]))}, `https://example.org/good {"good":1}`},
		"a signature":        {Evidence{Form: FormPayload, Bytes: []byte(good), Signature: []byte("s")}, ""},
		"another payload":    {Evidence{Form: FormEnvelope, Bytes: []byte(`{"payloadType":"text/plain","payload":"e30=","signatures":[{"sig":"c2ln"}]}`)}, ""},
		"no predicate":       {Evidence{Form: FormEnvelope, Bytes: []byte(`{"payloadType":"` + payloadInToto + `","payload":"e30=","signatures":[{"sig":"c2ln"}]}`)}, ""},
		"what is no bundle":  {Evidence{Form: FormBundle, Bytes: []byte(`nothing`)}, ""},
		"what has no form":   {Evidence{Bytes: []byte(good)}, ""},
		"a bare signature":   {Evidence{Form: FormBundle, Bytes: []byte(bundle(`"messageSignature":{"signature":"c2ln"}`))}, ""},
		"nothing whatsoever": {},
	} {
		kind, predicate, ok := tt.evidence.Stated()
		got := ""
		if ok {
			got = kind + " " + string(predicate)
		}
		if got != tt.want {
			t.Errorf("%s states %q, want %q", name, got, tt.want)
		}
	}
}
