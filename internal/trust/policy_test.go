// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"strings"
	"testing"
	"testing/fstest"

	"dossier.dev/dossier"
)

// TestPatterns compares by label: nothing that only begins or ends like a pattern matches.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		want           bool
	}{
		{"docker.io/library/nginx", "nginx", true},
		{"docker.io/library/nginx", "nginx:1.27", true},
		{"docker.io/library/nginx", "index.docker.io/library/nginx", true},
		{"index.docker.io/library/nginx", "nginx@sha256:" + strings.Repeat("0", 64), true},
		{"docker.io/library/nginx", "nginx-evil", false},
		{"docker.io/**", "docker.io.evil.tld/x", false},
		{"docker.io/**", "evil-docker.io/x", false},
		{"docker.io/**", "docker.io:8443/x", false},
		{"registry.example/shop/**", "registry.example/shop/a/b", true},
		{"registry.example/shop/**", "registry.example/shop", true},
		{"registry.example/shop/**", "registry.example/shopping/a", false},
		{"registry.example/shop/*", "registry.example/shop/a/b", false},
		{"registry.example/shop/*", "registry.example/shop/a", true},
		{"registry.example:5000/a", "registry.example:5000/a", true},
		{"registry.example:5000/a", "registry.example/a", false},
		{"registry.example:443/a", "registry.example/a", true},
		{"registry.example/a", "registry.example:443/a", true},
		{"registry.example/a", "registry.example:4430/a", false},
		{"docker.io/library/nginx", "DOCKER.IO/nginx", true},
		{"docker.io/*", "DOCKER.IO/nginx", false},
		{"*.example/a", "registry.example/a", true},
		{"*.example/a", "a.registry.example/a", false},
		{"**.example/a", "a.registry.example/a", true},
		{"**.example/a", "registry.example.evil/a", false},
		{"**/a/**/b", "x.y/a/1/2/b", true},
		{"localhost/a", "localhost/a", true},
		{"**", "anything/at/all", true},
	} {
		p, err := parsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		ref, err := dossier.ParseReference(tt.image)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.matches(ref); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.image, got)
		}
	}
	for _, bad := range []string{"", "nginx", "library/nginx", "docker.io/ngin*", "docker.io//a", "docker.io/a:1", "docker.io/a@sha256:0"} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestPolicyForm: what has not the form of a policy is refused in words of those who write it.
func TestPolicyForm(t *testing.T) {
	const where = "reading trust policy line "
	for _, tt := range []struct{ text, want string }{
		{"image: []\n", where + `1: there is no field "image": did you mean "images"?`},
		{"signers:\n  a:\n    kye: a.pub\n", where + `3: there is no field "kye": did you mean "key"?`},
		{"images:\n  match: [a]\n", where + "2: images: want a list of entries with fields"},
		{"images:\n- match: docker.io/**\n", where + "2: images[0].match: want a list of texts"},
		{"images:\n- match: [docker.io/**]\n  signedIdentity: matchExact\n", where + "3: images[0].signedIdentity: want fields with values"},
		{"images:\n- {match: [a], need: two}\n", where + "2: images[0].need: want a number"},
		{"images:\n- {match: [a], accept: perhaps}\n", where + "2: images[0].accept: want true or false"},
		{"signers: [a, b]\n", where + "1: signers: want fields with values"},
		{"signers:\n  a: {key: a.pub, from: yesterday}\n", where + "2: signers.a.from: want a time such as 2026-01-31T00:00:00Z"},
		{"roots: {a: [b]}\n", where + "1: roots.a: want text"},
		{"notation: {crls: a}\n", where + "1: notation.crls: want a list of texts"},
		{"- images\n", where + "1: want fields with values"},
		{"images: []\n---\nimages: []\n", where + "2: there is more than one document"},
		{"signers: {a: b}\nroot: {}\n", where + "1: signers.a: want fields with values\n" + where + `2: there is no field "root": did you mean "roots"?`},
	} {
		_, err := ParsePolicy([]byte(tt.text), fstest.MapFS{})
		if err == nil || err.Error() != tt.want || dossier.KindOf(err) != dossier.KindInvalid || dossier.HintOf(err) == "" {
			t.Errorf("%q:\n%v, want\n%s", tt.text, err, tt.want)
		}
	}
}

// TestPolicyDecides runs the rules of a policy on one image after another.
func TestPolicyDecides(t *testing.T) {
	private, public, err := GenerateKey([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePrivateKey(private, []byte("y")); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("with a wrong password: %v", err)
	}
	key, err := ParsePrivateKey(private, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	digest := dossier.FromBytes([]byte("an image"))
	good, err := key.SignStatement(ImageStatement(digest))
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.SignStatement(ImageStatement(dossier.FromBytes([]byte("another"))))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := ParsePolicy([]byte(`
signers:
  a: {key: a.pub}
  late: {key: a.pub, until: 2020-01-01T00:00:00Z}
  gone: {key: a.pub, revoked: lost}
images:
  - {match: [registry.example/late/**], signers: [late]}
  - {match: [registry.example/gone/**], signers: [gone]}
  - {match: [registry.example/free/**], accept: true}
  - {match: [registry.example/no/**], reject: true}
  - {match: [registry.example/**], signers: [a]}
`), fstest.MapFS{"a.pub": {Data: public}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		image  string
		bundle []byte
		want   Code
	}{
		{"registry.example/a", good, ""},
		{"registry.example/a", other, CodeSubject},
		{"registry.example/a", nil, CodeNoEvidence},
		{"registry.example/late/a", good, CodeNoTime},
		{"registry.example/free/a", nil, ""},
		{"registry.example/no/a", good, CodeRejected},
		{"registry.example.evil/a", good, CodeNoRule},
	} {
		ref, err := dossier.ParseReference(tt.image)
		if err != nil {
			t.Fatal(err)
		}
		var evidence []Evidence
		if tt.bundle != nil {
			evidence = []Evidence{{Form: FormBundle, Bytes: tt.bundle}}
		}
		d := policy.Decide(ref, digest, evidence, nil, noon)
		if d.Code != tt.want || d.Verified != (tt.want == "") || d.Trust != policy.Digest {
			t.Errorf("%s: %v %q (%s), want %q", tt.image, d.Verified, d.Code, d.Reason, tt.want)
		}
	}
	ref, _ := dossier.ParseReference("registry.example/gone/a")
	if d := policy.Decide(ref, digest, []Evidence{{Form: FormBundle, Bytes: good}}, nil, noon); d.Verified || d.Code != CodeSignerRevoked {
		t.Errorf("a revoked signer signs: %+v", d)
	}
}

// TestCosignOfOld reads what cosign kept under tags.
func TestCosignOfOld(t *testing.T) {
	k := newKey(t)
	digest := dossier.FromBytes([]byte("an image"))
	payload := func(kind string, d dossier.Digest) []byte {
		return []byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"` + string(d) + `"},"type":"` + kind + `"},"optional":null}`)
	}
	terms := Terms{Signers: []Signer{signerOf(t, "a", k)}}
	asked := Question{Digest: digest, Predicate: SignatureOnly}
	const kind = "cosign container image signature"
	for name, tt := range map[string]struct {
		payload, signed []byte
		want            Code
	}{
		"good":          {payload(kind, digest), payload(kind, digest), ""},
		"another image": {payload(kind, dossier.FromBytes(nil)), payload(kind, dossier.FromBytes(nil)), CodeArtifact},
		"another kind":  {payload("atomic container signature", digest), payload("atomic container signature", digest), CodeArtifact},
		"changed":       {payload(kind, digest), payload(kind, dossier.FromBytes(nil)), CodeSignature},
		"not signed":    {payload(kind, digest), nil, CodeNoSignature},
		"no payload":    {[]byte("{"), []byte("{"), CodeMalformed},
	} {
		e := Evidence{Form: FormPayload, Bytes: tt.payload}
		if tt.signed != nil {
			e.Signature = seal(t, k, tt.signed)
		}
		if d := Decide(asked, terms, []Evidence{e}, noon); d.Code != tt.want {
			t.Errorf("%s: %q (%s), want %q", name, d.Code, d.Reason, tt.want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("*.example/**/a", "x.example/b/a")
	f.Fuzz(func(t *testing.T, text, image string) {
		p, err := parsePattern(text)
		ref, refErr := dossier.ParseReference(image)
		if err != nil || refErr != nil {
			return
		}
		if p.matches(ref) && !strings.Contains(text, "*") && !strings.EqualFold(strings.TrimPrefix(text, "index."), ref.Name()) {
			t.Errorf("%s matches %s", text, ref.Name())
		}
	})
}
