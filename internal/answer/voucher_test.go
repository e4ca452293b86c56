// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"testing"
	"testing/fstest"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/trust"
)

// TestVoucherOfSeveralRepositories has an image in repositories of which rules want
// different signers: who signs for one of them does not speak for the others.
func TestVoucherOfSeveralRepositories(t *testing.T) {
	public := fstest.MapFS{}
	keys := map[string]*trust.PrivateKey{}
	for _, name := range []string{"dev", "prod"} {
		private, pub, err := trust.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if keys[name], err = trust.ParsePrivateKey(private, nil); err != nil {
			t.Fatal(err)
		}
		public[name+".pub"] = &fstest.MapFile{Data: pub}
	}
	policy, err := trust.ParsePolicy([]byte(`
signers: {dev: {key: dev.pub}, prod: {key: prod.pub}}
images:
  - {match: ["registry.example/dev/**"], signers: [dev]}
  - {match: ["registry.example/prod/**"], signers: [prod]}
  - {match: ["registry.example/both/**"], signers: [dev, prod]}
`), public)
	if err != nil {
		t.Fatal(err)
	}
	digest := dossier.FromBytes([]byte("image"))
	const kind = "https://example.com/scan/v1"
	by := func(name string) trust.Evidence {
		bundle, err := keys[name].SignStatement(trust.Statement(digest, kind, []byte(`{}`)))
		if err != nil {
			t.Fatal(err)
		}
		return trust.Evidence{Form: trust.FormBundle, Bytes: bundle}
	}
	for _, tt := range []struct {
		signer string
		names  []string
		want   string
	}{
		{"dev", []string{"dev/app"}, "dev"},
		{"dev", []string{"prod/app"}, ""},
		{"dev", []string{"dev/app", "prod/app"}, ""},
		{"dev", []string{"prod/app", "dev/app"}, ""},
		{"prod", []string{"dev/app", "prod/app"}, ""},
		{"dev", []string{"dev/app", "both/app"}, "dev"},
		{"dev", []string{"nobody/app", "dev/app"}, "dev"},
		{"dev", []string{"nobody/app"}, ""},
		{"dev", nil, ""},
	} {
		s := &survey{Evidence: Evidence{AsOf: time.Now()}, policy: Policy{Trust: policy}}
		for _, n := range tt.names {
			s.Names = append(s.Names, Name{Name: "registry.example/" + n})
		}
		body := &parsed{signed: by(tt.signer), about: trust.Stated{PredicateType: kind}}
		if got := s.voucher(&dossier.Fact{Statement: dossier.Statement{Subject: digest}}, body); got != tt.want {
			t.Errorf("signed by %s, in %q: %q vouches, want %q", tt.signer, tt.names, got, tt.want)
		}
	}
}
