// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/trust"
)

// trusted is a server with a trust policy that tests change, and a signed image in it.
type trusted struct {
	serving
	dir    string
	client *client.Client
	image  string
}

// newTrusted runs a server in which an image is signed by a and b.
func newTrusted(t *testing.T) *trusted {
	t.Helper()
	w := &trusted{dir: t.TempDir(), image: "registry.example/team/app:1"}
	var keys []*trust.PrivateKey
	for _, name := range []string{"a", "b"} {
		private, public, err := trust.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := trust.ParsePrivateKey(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		w.write(t, name+".pub", string(public))
	}
	w.write(t, "trust.yaml", policyOf("", 2))
	c := closedRegistry(t)
	c.Offline = false // what is pushed is read
	c.TrustFile, c.TrustEvery = filepath.Join(w.dir, "trust.yaml"), 20*time.Millisecond
	w.serving = serve(t, c)
	w.client = newClient(t, w.url, client.Options{Token: apiToken})

	token := fetchToken(t, w.url, basic("any", apiToken), "repository:team/app:pull,push")
	put := func(reference, mediaType string, blobs map[string]string, manifest string) {
		t.Helper()
		for text, digest := range blobs {
			if resp, body := ask(t, http.MethodPost, w.url+"/v2/team/app/blobs/uploads/?digest="+digest, token, text); resp.StatusCode != http.StatusCreated {
				t.Fatalf("pushing: %s %s", resp.Status, body)
			}
		}
		if resp, body := ask(t, http.MethodPut, w.url+"/v2/team/app/manifests/"+reference, token, manifest); resp.StatusCode != http.StatusCreated {
			t.Fatalf("pushing: %s %s", resp.Status, body)
		}
	}
	digestOf := func(text string) string { return string(dossier.FromBytes([]byte(text))) }
	descriptor := func(mediaType, text string) map[string]any {
		return map[string]any{"mediaType": mediaType, "digest": digestOf(text), "size": len(text)}
	}
	manifestOf := func(m map[string]any) string {
		m["schemaVersion"], m["mediaType"] = 2, "application/vnd.oci.image.manifest.v1+json"
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const config = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	manifest := manifestOf(map[string]any{"config": descriptor("application/vnd.oci.image.config.v1+json", config), "layers": []any{}})
	for _, k := range keys {
		bundle, err := k.SignStatement(trust.ImageStatement(dossier.FromBytes([]byte(manifest))))
		if err != nil {
			t.Fatal(err)
		}
		artifact := manifestOf(map[string]any{
			"artifactType": trust.BundleType, "config": descriptor("application/vnd.oci.empty.v1+json", "{}"), "layers": []any{descriptor(trust.BundleType, string(bundle))},
			"subject": descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
		})
		put(digestOf(artifact), "", map[string]string{"{}": digestOf("{}"), string(bundle): digestOf(string(bundle))}, artifact)
	}
	put("1", "", map[string]string{config: digestOf(config)}, manifest)
	return w
}

func (w *trusted) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// policyOf is a policy in which b may be revoked.
func policyOf(revoked string, need int) string {
	b := `{key: b.pub}`
	if revoked != "" {
		b = `{key: b.pub, revoked: "` + revoked + `"}`
	}
	return "signers: {a: {key: a.pub}, b: " + b + "}\nimages: [{match: ['registry.example/**'], signers: [a, b], need: " + string(rune('0'+need)) + "}]\n"
}

// details returns a detail of the origin of the image.
func (w *trusted) details(ctx context.Context, t *testing.T, key string) []string {
	t.Helper()
	d, err := w.client.Dossier(ctx, w.image, dossier.Times{})
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		t.Fatal(err)
	}
	var out []string
	for _, v := range d.Answers.Origin.Details[key] {
		if text, ok := v.Value.(string); ok {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// await asks until a detail is as wanted.
func (w *trusted) await(t *testing.T, key string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for ctx.Err() == nil {
		got = w.details(t.Context(), t, key)
		ok := len(got) == len(want)
		for i := range min(len(got), len(want)) {
			ok = ok && strings.Contains(got[i], want[i])
		}
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s is %q, want %q", key, got, want)
}

// TestTrustChanges changes the trust policy of a running server: answers follow, and say
// what changed and what they were before.
func TestTrustChanges(t *testing.T) {
	w := newTrusted(t)
	w.await(t, "signer", "a", "b")
	w.await(t, "rejudged")

	w.write(t, "trust.yaml", policyOf("stolen on Monday", 2))
	w.await(t, "signer", "not verified (too-few): signed by 1 key, 2 different keys must have signed; b is revoked: stolen on Monday")
	w.await(t, "rejudged", "signer b was revoked: stolen on Monday; before: signed by 2 keys")

	w.write(t, "trust.yaml", policyOf("stolen on Monday", 1))
	w.await(t, "signer", "a")
	w.await(t, "rejudged", "1 key must have signed instead of 2; before: not verified (too-few)")

	// What cannot be read changes nothing.
	w.write(t, "trust.yaml", "images: {")
	time.Sleep(100 * time.Millisecond)
	w.await(t, "signer", "a")

	// A key in another file is a change as well.
	_, other, err := trust.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "trust.yaml", policyOf("", 2))
	w.await(t, "signer", "a", "b")
	w.write(t, "a.pub", string(other))
	w.await(t, "signer", "not verified (too-few)")
	w.await(t, "rejudged", "signer a signs with sha256:")
}
