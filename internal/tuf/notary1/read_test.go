// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notary1

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
)

// The signer here is our own, written after Notary's description: e2e/notary holds the reader against what Notary's
// own code signs.

const testName = "registry.example/acme/app"

var testNow = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// signer has a key in one of the forms that metadata has.
type signer struct {
	private crypto.Signer
	key     key
}

func (s signer) sign(t *testing.T, message []byte) object {
	t.Helper()
	sum := sha256.Sum256(message)
	var method string
	var sig []byte
	var err error
	switch k := s.private.(type) {
	case *ecdsa.PrivateKey:
		method = "ecdsa"
		r, q, signErr := ecdsa.Sign(rand.Reader, k, sum[:])
		err = signErr
		sig = append(r.FillBytes(make([]byte, 32)), q.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		method = "rsapss"
		sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
	case ed25519.PrivateKey:
		method, sig = "eddsa", ed25519.Sign(k, message)
	}
	if err != nil {
		t.Fatal(err)
	}
	return object{"keyid": s.key.id(), "method": method, "sig": sig}
}

func newSigner(t *testing.T, typ string) signer {
	t.Helper()
	var s signer
	var err error
	switch typ {
	case "ecdsa", "ecdsa-x509":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		s.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.as(t, typ)
}

// as gives the key another form.
func (s signer) as(t *testing.T, typ string) signer {
	t.Helper()
	s.key.Type = typ
	var err error
	switch typ {
	case "ed25519":
		s.key.Value.Public = s.private.Public().(ed25519.PublicKey)
	case "ecdsa-x509":
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: testName}, NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(100 * time.Hour)}
		der, certErr := x509.CreateCertificate(rand.Reader, c, c, s.private.Public(), s.private)
		err = certErr
		s.key.Value.Public = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	default:
		s.key.Value.Public, err = x509.MarshalPKIXPublicKey(s.private.Public())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type object = map[string]any

// collection is a repository in the making.
type collection struct {
	*testing.T
	root, targets, snapshot, timestamp, releases, alice signer

	change map[string]func(object)          // of what is signed, by role
	signed map[string][]signer              // who signs; else the role's own
	after  map[string]func(envelope object) // what is changed when it is signed
	files  map[string][]byte                // by role
}

func newCollection(t *testing.T) *collection {
	return &collection{
		T: t, root: newSigner(t, "ecdsa-x509"), targets: newSigner(t, "ecdsa"), snapshot: newSigner(t, "ed25519"), timestamp: newSigner(t, "ecdsa"),
		releases: newSigner(t, "rsa"), alice: newSigner(t, "ecdsa-x509"),
		change: map[string]func(object){}, signed: map[string][]signer{}, after: map[string]func(object){}, files: map[string][]byte{},
	}
}

// rawMeta is what is said of bytes.
func rawMeta(b []byte) object {
	sum := sha256.Sum256(b)
	return object{"length": len(b), "hashes": object{"sha256": sum[:]}}
}

var (
	one, two = []byte("manifest one"), []byte("manifest two")
	digest1  = dossier.FromBytes(one)
	digest2  = dossier.FromBytes(two)
)

// put signs a file.
func (c *collection) put(role, typ string, signed object, by ...signer) {
	c.Helper()
	signed["_type"], signed["version"] = typ, 1
	signed["expires"] = testNow.Add(24 * time.Hour).Format(time.RFC3339)
	if f := c.change[role]; f != nil {
		f(signed)
	}
	text, err := json.Marshal(signed)
	if err != nil {
		c.Fatal(err)
	}
	message, err := canonical(text)
	if err != nil {
		c.Fatal(err)
	}
	if other, ok := c.signed[role]; ok {
		by = other
	}
	var signatures []object
	for _, s := range by {
		signatures = append(signatures, s.sign(c.T, message))
	}
	e := object{"signed": json.RawMessage(text), "signatures": signatures}
	if f := c.after[role]; f != nil {
		f(e)
	}
	if c.files[role], err = json.Marshal(e); err != nil {
		c.Fatal(err)
	}
}

func keysOf(list ...signer) object {
	m := object{}
	for _, s := range list {
		m[s.key.id()] = object{"keytype": s.key.Type, "keyval": object{"private": nil, "public": s.key.Value.Public}}
	}
	return m
}

func roleOf(threshold int, list ...signer) object {
	var ids []string
	for _, s := range list {
		ids = append(ids, s.key.id())
	}
	return object{"keyids": ids, "threshold": threshold}
}

// build signs all files: app:1 and app:2 by releases, app:old by targets, and alice says the same of app:1.
func (c *collection) build() *collection {
	c.Helper()
	c.put("root", "Root", object{
		"keys": keysOf(c.root, c.targets, c.snapshot, c.timestamp), "consistent_snapshot": false,
		"roles": object{"root": roleOf(1, c.root), "targets": roleOf(1, c.targets), "snapshot": roleOf(1, c.snapshot), "timestamp": roleOf(1, c.timestamp)},
	}, c.root)
	delegation := func(name string, s signer) object {
		r := roleOf(1, s)
		r["name"], r["paths"] = name, []string{""}
		return r
	}
	c.put("targets", "Targets", object{
		"targets": object{"old": rawMeta(one), "1": rawMeta(two), "../evil": rawMeta(one)},
		"delegations": object{
			"keys":  keysOf(c.releases, c.alice),
			"roles": []object{delegation("targets/alice", c.alice), delegation("targets/releases", c.releases), delegation("targets/nobody", c.alice)},
		},
	}, c.targets)
	none := object{"keys": object{}, "roles": []object{}}
	c.put("targets/releases", "Targets", object{"targets": object{"1": rawMeta(one), "2": rawMeta(two)}, "delegations": none}, c.releases)
	c.put("targets/alice", "Targets", object{"targets": object{"1": rawMeta(one), "2": rawMeta(one)}, "delegations": none}, c.alice)
	meta := object{}
	for _, role := range []string{"root", "targets", "targets/releases", "targets/alice"} {
		meta[role] = rawMeta(c.files[role])
	}
	c.put("snapshot", "Snapshot", object{"meta": meta}, c.snapshot)
	c.put("timestamp", "Timestamp", object{"meta": object{"snapshot": rawMeta(c.files["snapshot"])}}, c.timestamp)
	return c
}

// Fetch implements Source.
func (c *collection) Fetch(_ context.Context, role string, limit int64) ([]byte, error) {
	b, ok := c.files[role]
	if !ok {
		return nil, dossier.Errorf(dossier.KindNotFound, op, role, "there is no such file")
	}
	if int64(len(b)) > limit {
		return nil, dossier.Errorf(dossier.KindLimit, op, role, "it is too large")
	}
	return b, nil
}

func (c *collection) read(more ...func(*Options)) (Collection, error) {
	o := Options{Name: testName, Now: testNow}
	for _, f := range more {
		f(&o)
	}
	return Read(c.Context(), c, o)
}

func TestRead(t *testing.T) {
	c := newCollection(t).build()
	got, err := c.read(func(o *Options) { o.Roots = []string{"other", c.root.key.id()} })
	if err != nil {
		t.Fatal(err)
	}
	c.check(got)
	// The same from a directory and from a server.
	dir := t.TempDir()
	for role, b := range c.files {
		file := filepath.Join(dir, filepath.FromSlash(role)+".json")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.StripPrefix("/v2/"+testName+"/_trust/tuf/", http.FileServer(http.Dir(dir))))
	t.Cleanup(server.Close)
	for _, from := range []Source{Dir(dir), Server{URL: server.URL + "/", Name: testName, Client: server.Client()}} {
		got, err := Read(t.Context(), from, Options{Name: testName, Now: testNow})
		if err != nil {
			t.Fatalf("%T: %v", from, err)
		}
		c.check(got)
		if _, err := from.Fetch(t.Context(), "root", 10); dossier.KindOf(err) != dossier.KindLimit {
			t.Errorf("%T: a file beyond the limit: %v", from, err)
		}
		if _, err := from.Fetch(t.Context(), "targets/none", 10); dossier.KindOf(err) != dossier.KindNotFound {
			t.Errorf("%T: a file that there is not: %v", from, err)
		}
	}
	if _, err := Dir(dir).Fetch(t.Context(), "../"+filepath.Base(dir)+"/root", 1<<20); err == nil {
		t.Error("a name leads out of the directory")
	}
}

func (c *collection) check(got Collection) {
	c.Helper()
	var list []string
	for _, t := range got.Tags {
		list = append(list, t.Tag+" "+t.Digest.Short()+" "+t.Role+" "+strings.Join(t.Signers, ","))
	}
	want := []string{
		"1 " + digest1.Short() + " targets/releases targets/alice",
		"2 " + digest2.Short() + " targets/releases ",
		"old " + digest1.Short() + " targets ",
	}
	if !slices.Equal(list, want) || !slices.Equal(got.Root, []string{c.root.key.id()}) || !got.Expires.Equal(testNow.Add(24*time.Hour)) || len(got.Expired) > 0 {
		c.Errorf("got %q, %+v", list, got)
	}
	if !slices.Equal(got.Tags[0].Keys, []string{c.releases.key.id()}) || got.Tags[0].Length != int64(len(one)) {
		c.Errorf("the first tag is %+v", got.Tags[0])
	}
}

// TestReadRefuses: each check is needed by a case that nothing else refuses.
func TestReadRefuses(t *testing.T) {
	stranger := newSigner(t, "ecdsa")
	past := func(o object) { o["expires"] = testNow.Add(-time.Hour).Format(time.RFC3339) }
	for _, tt := range []struct {
		name   string
		change func(*collection)
		want   string
		kind   dossier.Kind
	}{
		{"root not signed", func(c *collection) { c.signed["root"] = nil }, "root: 0 keys have signed, 1 must", dossier.KindDenied},
		{"root by a stranger", func(c *collection) { c.signed["root"] = []signer{stranger} }, "root: 0 keys have signed", dossier.KindDenied},
		{"another root key is trusted", func(c *collection) {}, "which is none of the keys that are trusted", dossier.KindDenied},
		{"threshold zero", func(c *collection) {
			c.change["root"] = func(o object) { o["roles"].(object)["targets"].(object)["threshold"] = 0 }
			c.signed["targets"] = nil
		}, "targets: 0 keys have signed, 0 must", dossier.KindDenied},
		{"one key twice", func(c *collection) {
			again := c.targets.as(c.T, "ecdsa-x509") // the same key in another form has another ID
			c.change["root"] = func(o object) {
				maps.Copy(o["keys"].(object), keysOf(again))
				o["roles"].(object)["targets"] = roleOf(2, c.targets, again)
			}
			c.signed["targets"] = []signer{c.targets, c.targets, again}
		}, "targets: 1 keys have signed, 2 must", dossier.KindDenied},
		{"a key under another's ID", func(c *collection) {
			c.change["root"] = func(o object) {
				o["keys"].(object)[c.targets.key.id()] = keysOf(stranger)[stranger.key.id()]
			}
		}, "has another ID", dossier.KindDenied},
		{"a key of another role", func(c *collection) { c.signed["targets"] = []signer{c.timestamp} }, "targets: 0 keys have signed", dossier.KindDenied},
		{"a method of another kind", func(c *collection) {
			c.after["snapshot"] = func(e object) { e["signatures"].([]object)[0]["method"] = "ecdsa" }
		}, "snapshot: 0 keys have signed", dossier.KindDenied},
		{"certificate of another repository", func(c *collection) {}, "its certificates do not name", dossier.KindDenied},
		{"timestamp expired", func(c *collection) { c.change["timestamp"] = past }, "timestamp: it expired at", dossier.KindDenied},
		{"releases expired", func(c *collection) { c.change["targets/releases"] = past }, "targets/releases: it expired at", dossier.KindDenied},
		{"type of another role", func(c *collection) {
			c.change["snapshot"] = func(o object) { o["_type"] = "Timestamp" }
		}, "it is of type", dossier.KindInvalid},
		{"changed after it was signed", func(c *collection) {
			c.after["timestamp"] = func(e object) {
				e["signed"] = json.RawMessage(strings.Replace(string(e["signed"].(json.RawMessage)), `"version":1`, `"version":2`, 1))
			}
		}, "timestamp: 0 keys have signed", dossier.KindDenied},
		{"role elsewhere", func(c *collection) {
			c.change["targets"] = func(o object) {
				o["delegations"].(object)["roles"].([]object)[0]["name"] = "targets/../root"
			}
		}, "which is not a role below it", dossier.KindDenied},
		{"role twice", func(c *collection) {
			c.change["targets"] = func(o object) {
				o["delegations"].(object)["roles"].([]object)[0]["name"] = "targets/releases"
				o["delegations"].(object)["roles"].([]object)[0]["keyids"] = []string{c.releases.key.id()}
			}
		}, "twice", dossier.KindDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCollection(t)
			tt.change(c)
			_, err := c.build().read(func(o *Options) {
				switch tt.name {
				case "another root key is trusted":
					o.Roots = []string{c.targets.key.id()}
				case "certificate of another repository":
					o.Name = "registry.example/acme/other"
				}
			})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if dossier.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %s", err, tt.want)
			}
		})
	}
}

// TestReadMixed: a file that was replaced by another that is signed as well is not the one that is named.
func TestReadMixed(t *testing.T) {
	for _, role := range []string{"root", "targets", "snapshot", "targets/releases"} {
		c := newCollection(t).build()
		c.change[role] = func(o object) { o["version"] = 7 }
		other := *c
		other.files = map[string][]byte{}
		other.build()
		c.files[role] = other.files[role]
		if _, err := c.read(); dossier.KindOf(err) != dossier.KindDenied || !strings.Contains(err.Error(), role+": it is not the one that the ") {
			t.Errorf("%s of another time: %v", role, err)
		}
	}
	c := newCollection(t).build()
	delete(c.files, "targets/releases")
	if _, err := c.read(); dossier.KindOf(err) != dossier.KindNotFound {
		t.Errorf("a role that is named and not there: %v", err)
	}
	c = newCollection(t).build()
	c.change["snapshot"] = func(o object) { delete(o["meta"].(object), "targets") }
	if _, err := c.build().read(); dossier.KindOf(err) != dossier.KindDenied {
		t.Errorf("targets that are not named: %v", err)
	}
}

// TestReadPaths: a delegated role speaks of the tags that it was given only.
func TestReadPaths(t *testing.T) {
	c := newCollection(t)
	c.change["targets"] = func(o object) {
		for _, r := range o["delegations"].(object)["roles"].([]object) {
			r["paths"] = []string{"1"}
		}
	}
	got, err := c.build().read()
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, x := range got.Tags {
		tags = append(tags, x.Tag+" "+x.Role)
	}
	if !slices.Equal(tags, []string{"1 targets/releases", "old targets"}) {
		t.Errorf("got %q", tags)
	}
}

// TestReadExpired reads what is past its time when it is told to, and says so.
func TestReadExpired(t *testing.T) {
	c := newCollection(t).build()
	got, err := c.read(func(o *Options) { o.Now, o.Expired = testNow.Add(1000*time.Hour), true })
	if err != nil || len(got.Tags) != 3 || !slices.Equal(got.Expired, []string{"certificate", "root", "snapshot", "targets", "targets/alice", "targets/releases", "timestamp"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.read(func(o *Options) { o.Now = testNow.Add(1000 * time.Hour) }); dossier.KindOf(err) != dossier.KindDenied || dossier.HintOf(err) == "" {
		t.Errorf("the error is %v", err)
	}
	// The certificate alone.
	c.change["root"] = func(o object) { o["expires"] = testNow.Add(2000 * time.Hour).Format(time.RFC3339) }
	for _, role := range []string{"targets", "snapshot", "timestamp", "targets/releases", "targets/alice"} {
		c.change[role] = c.change["root"]
	}
	if _, err := c.build().read(func(o *Options) { o.Now = testNow.Add(1000 * time.Hour) }); err == nil || !strings.Contains(err.Error(), "the certificate of its key has expired") {
		t.Errorf("the error is %v", err)
	}
}

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"b":1,"a":[true,null,"<&>"]}`, `{"a":[true,null,"<&>"],"b":1}`},
		{`"a\"\\\n"`, "\"a\\\"\\\\\n\""},
		{`1.5`, ""},
		{strings.Repeat("[", 40) + strings.Repeat("]", 40), ""},
	} {
		got, err := canonical([]byte(tt.in))
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s is %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

// FuzzRead gives any bytes as any file: none may bring the reader down, and none is taken that was not signed.
func FuzzRead(f *testing.F) {
	f.Add("root", []byte(`{"signed":{"_type":"Root","keys":{"a":null},"roles":null},"signatures":null}`))
	f.Add("targets", []byte(`{"signed":null,"signatures":[null]}`))
	f.Add("timestamp", []byte(`{"signed":{"_type":"Timestamp","meta":{"snapshot":null}},"signatures":[{"keyid":"","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, role string, body []byte) {
		c := &collection{T: t, files: map[string][]byte{role: body, "root": body}}
		if got, err := c.read(); err == nil && len(got.Tags) > 0 {
			t.Errorf("it is taken: %+v", got)
		}
	})
}
