// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/translog"
)

// lab is a store with an image and a log.
type lab struct {
	Prover
	path   string
	store  store.Store
	image  dossier.Digest
	config dossier.Digest
	trust  Trust
}

func newLab(t testing.TB) *lab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	secret, key, err := note.GenerateKey(rand.Reader, "log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	log, err := translog.New(translog.Config{Store: s, Signer: signer, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Prover: Prover{Answerer: answer.Answerer{Store: s}, Log: log}, path: path, store: s}
	if l.trust, err = ParseTrust([]byte("logs: [{key: " + key + "}]\ntrust: something else\n")); err != nil {
		t.Fatal(err)
	}
	l.addImage(t)
	return l
}

func (l *lab) update(t testing.TB, f func(tx store.Tx) error) {
	t.Helper()
	if err := l.store.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// addImage records an image, as who reads one does.
func (l *lab) addImage(t testing.TB) {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Labels":{"org.opencontainers.image.title":"web","org.opencontainers.image.version":"1.2.3"}},"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0a", 32) + `"]}}`)
	l.config = dossier.FromBytes(config)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":1024}]}`, l.config, len(config), strings.Repeat("0a", 32))
	c, err := image.ParseConfig(image.Descriptor{Digest: l.config, MediaType: "application/vnd.oci.image.config.v1+json"}, config)
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.ParseManifest(image.Descriptor{}, manifest)
	if err != nil {
		t.Fatal(err)
	}
	l.image = m.Digest
	l.update(t, func(tx store.Tx) error {
		for _, n := range []image.Node{c, m} {
			if _, err := record.Node(t.Context(), tx, n, []image.Node{c, m}); err != nil {
				return err
			}
		}
		if err := record.Name(t.Context(), tx, m.Digest, "registry.example/web", dossier.Instant(time.Now())); err != nil {
			return err
		}
		return l.record(t, tx, "registry.push") // which is no evidence
	})
}

func (l *lab) record(t testing.TB, tx store.Tx, kind dossier.FactKind) error {
	_, _, err := tx.Record(t.Context(), dossier.Statement{Subject: l.image, Kind: kind, Source: "registry:x", ValidAt: dossier.Instant(time.Now()), Body: []byte(`{}`)})
	return err
}

func (l *lab) prove(t testing.TB) File {
	t.Helper()
	b, err := l.Prove(t.Context(), "registry.example/web", l.image, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (l *lab) check(t testing.TB, f File) Report {
	t.Helper()
	r, err := Check(f, l.trust, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// resign signs the claim anew, as an operator who has the key of the log can.
func (l *lab) resign(t testing.TB, f *File) {
	t.Helper()
	c, err := translog.OpenCheckpoint([]byte(f.Log.Checkpoint), l.trust.Logs[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.claim(c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.Log.Claim(text)
	if err != nil {
		t.Fatal(err)
	}
	f.Claim = string(signed)
}

// edit changes the evidence or the dossier of a file.
func edit[T any](t testing.TB, part *json.RawMessage, change func(*T)) {
	t.Helper()
	var v T
	if err := json.Unmarshal(*part, &v); err != nil {
		t.Fatal(err)
	}
	change(&v)
	var err error
	if *part, err = compact(v); err != nil {
		t.Fatal(err)
	}
}

// TestProof proves an answer; what is proven and what is claimed is told apart.
func TestProof(t *testing.T) {
	l := newLab(t)
	r := l.check(t, l.prove(t))
	if len(r.Faults) > 0 || r.Subject != l.image || r.Answers.What.Status != dossier.StatusOK {
		t.Fatalf("%+v", r)
	}
	said := func(list []Finding, want string) {
		t.Helper()
		if !slices.ContainsFunc(list, func(f Finding) bool { return strings.Contains(f.What, want) }) {
			t.Errorf("nothing says %q: %+v", want, list)
		}
	}
	said(r.Proven, "3 facts were recorded")
	said(r.Proven, "2 manifests or configurations here are those of their digests")
	said(r.Proven, "all that was recorded about "+l.config.Short()+" by then is here: 1 fact")
	said(r.Proven, "by then 3 facts were recorded about "+l.image.Short()+"; 2 of them are here")
	said(r.Claimed, "that the other 1 about "+l.image.Short())
	said(r.Claimed, "1 name under which it was found")
	said(r.Claimed, "no advisories were there")
	if len(r.Log.Witnesses) != 0 {
		t.Errorf("witnesses: %v", r.Log.Witnesses)
	}
}

// TestForgedProof changes each part of a file. What only its sender could have changed is found by the
// signature of the claim; what the operator of the log signed anew, by what else there is.
func TestForgedProof(t *testing.T) {
	l := newLab(t)
	old := l.prove(t)
	l.update(t, func(tx store.Tx) error { return l.record(t, tx, "image.name") })
	genuine := l.prove(t)
	other := newLab(t)
	for name, test := range map[string]struct {
		forge func(f *File)
		own   bool // by the operator, who signs the claim again
		want  string
	}{
		"a summary":             {func(f *File) { edit(t, &f.Dossier, func(d *dossier.Dossier) { d.Answers.What.Summary = "safe" }) }, false, "claim was signed for another answer"},
		"a summary, signed":     {func(f *File) { edit(t, &f.Dossier, func(d *dossier.Dossier) { d.Answers.What.Summary = "safe" }) }, true, `the answer to "what" does not follow`},
		"a status, signed":      {func(f *File) { edit(t, &f.Dossier, func(d *dossier.Dossier) { d.Answers.Currency.Status = "ok" }) }, true, `the answer to "currency" does not follow`},
		"a place, signed":       {func(f *File) { edit(t, &f.Dossier, func(d *dossier.Dossier) { d.Requested = []string{"else"} }) }, true, "platforms, names or places"},
		"what was asked":        {func(f *File) { f.Ref = "registry.example/other" }, false, "claim was signed for another answer"},
		"the policy":            {func(f *File) { f.Policy.MaxAge = -1 }, false, "claim was signed for another answer"},
		"the time":              {func(f *File) { f.At.Valid = time.Now() }, false, "claim was signed for another answer"},
		"the claim":             {func(f *File) { f.Claim = "dossier/claim/v1\n" }, false, "the claim is not signed"},
		"the claim of old":      {func(f *File) { f.Claim = old.Claim }, false, "claim was signed for another"},
		"a body, signed":        {func(f *File) { edit(t, &f.Evidence, func(e *answer.Evidence) { e.Facts[0].Body = []byte("{}") }) }, true, "another ID than its content"},
		"a body and all hashes": {l.forgeFact(t, func(f *dossier.Fact) { f.Body = append(f.Body, ' ') }), true, "the facts are not in the log"},
		"a time of recording":   {l.forgeFact(t, func(f *dossier.Fact) { f.RecordedAt = f.RecordedAt.Add(-time.Hour) }), true, "the facts are not in the log"},
		"a fact twice": {func(f *File) {
			edit(t, &f.Evidence, func(e *answer.Evidence) { e.Facts = append(e.Facts, e.Facts[0]) })
		}, true, "where they are in the log"},
		"an index":           {func(f *File) { f.Log.Entries[0]++ }, true, "the facts are not in the log"},
		"the inclusion":      {func(f *File) { f.Log.Inclusion[5] ^= 1 }, true, "the facts are not in the log"},
		"half an inclusion":  {func(f *File) { f.Log.Inclusion = f.Log.Inclusion[1:] }, true, "the facts are not in the log"},
		"the map":            {func(f *File) { f.Log.Map[len(f.Log.Map)-1] ^= 1 }, true, "which facts were the newest"},
		"a head moved back":  {func(f *File) { f.Log.Heads[0].Seq++ }, true, "which facts were the newest"},
		"a head left out":    {func(f *File) { f.Log.Heads = f.Log.Heads[1:] }, true, "which facts were the newest"},
		"the state of old":   {func(f *File) { f.Log = old.Log }, true, "where they are in the log"},
		"the checkpoint":     {func(f *File) { f.Log.Checkpoint = strings.Replace(f.Log.Checkpoint, "\n5\n", "\n6\n", 1) }, false, "the checkpoint of the log"},
		"another log":        {func(f *File) { *f = other.prove(t) }, false, "the checkpoint of the log"},
		"an edge, signed":    {func(f *File) { edit(t, &f.Evidence, func(e *answer.Evidence) { e.Edges[0].Child = l.image }) }, true, "and its bytes do not"},
		"a fact left out":    {func(f *File) { edit(t, &f.Evidence, func(e *answer.Evidence) { e.Facts = e.Facts[1:] }) }, true, "where they are in the log"},
		"all facts left out": {func(f *File) { edit(t, &f.Evidence, func(e *answer.Evidence) { e.Facts = nil }); f.Log.Entries = nil }, true, "does not follow"},
		"a fact of another here": {func(f *File) {
			edit(t, &f.Evidence, func(e *answer.Evidence) { e.Facts[1].Subject, e.Facts[0].Subject = e.Facts[0].Subject, l.config })
		}, true, "another ID than its content"},
		"nothing": {func(*File) {}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := genuine
			f.Log.Entries, f.Log.Inclusion, f.Log.Map = slices.Clone(f.Log.Entries), slices.Clone(f.Log.Inclusion), slices.Clone(f.Log.Map)
			f.Log.Heads = slices.Clone(f.Log.Heads)
			test.forge(&f)
			if test.own {
				l.resign(t, &f)
			}
			faults := strings.Join(l.check(t, f).Faults, "\n")
			if !strings.Contains(faults, test.want) || (faults == "") != (test.want == "") {
				t.Errorf("found:\n%s\nwant: %s", faults, test.want)
			}
		})
	}
}

// forgeFact returns what changes a fact and all hashes that a file has of it.
func (l *lab) forgeFact(t testing.TB, change func(*dossier.Fact)) func(f *File) {
	return func(f *File) {
		edit(t, &f.Evidence, func(e *answer.Evidence) {
			fact := &e.Facts[0]
			change(fact)
			fact.ID, fact.Leaf = fact.Statement.ID(), fact.LeafHash()
		})
	}
}

// TestErasedProof erases a body: what was proven stays proven.
func TestErasedProof(t *testing.T) {
	l := newLab(t)
	f := l.prove(t)
	db, err := sql.Open("sqlite", l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE fact SET body = NULL WHERE kind = 'image.name'`); err != nil {
		t.Fatal(err)
	}
	l.update(t, func(tx store.Tx) error { return l.record(t, tx, "registry.tag") }) // the log goes on
	if _, err := l.Log.Append(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := l.check(t, f); len(r.Faults) > 0 {
		t.Errorf("%v", r.Faults)
	}
	if r, err := translog.Verify(t.Context(), l.store, l.Log.Key()); err != nil || len(r.Faults) > 0 || r.Erased != 1 {
		t.Errorf("Verify: %+v, %v", r, err)
	}
	// A new proof stands on what is left, and says what is not.
	f = l.prove(t)
	r := l.check(t, f)
	if len(r.Faults) > 0 || !strings.Contains(fmt.Sprint(r.Claimed), "what image.name of "+l.image.Short()+" said: it was erased") {
		t.Errorf("%+v", r)
	}
	for id, hash := range f.Log.Erased {
		f.Log.Erased[id] = l.image
		if r := l.check(t, f); !strings.Contains(fmt.Sprint(r.Faults), "has another leaf than its content") {
			t.Errorf("another body than was erased: %v", r.Faults)
		}
		f.Log.Erased[id] = hash
	}
}

// TestCompressedProof reads a file as it is kept, and what is left of a damaged one.
func TestCompressedProof(t *testing.T) {
	l := newLab(t)
	b, err := l.Prove(t.Context(), "registry.example/web", l.image, dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Compress(b)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(kept)
	if err != nil {
		t.Fatal(err)
	}
	if r := l.check(t, f); len(r.Faults) > 0 {
		t.Errorf("%v", r.Faults)
	}
	for _, damaged := range [][]byte{kept[:2], kept[:len(kept)/2], append(slices.Clone(kept), 1)} {
		if _, err := Parse(damaged); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%d of %d bytes: %v", len(damaged), len(kept), err)
		}
	}
}

func TestQuorum(t *testing.T) {
	l := newLab(t)
	f := l.prove(t)
	l.trust.Logs[0].Quorum = 1
	if r := l.check(t, f); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "signed by 0 of the witnesses") {
		t.Errorf("%v", r.Faults)
	}
}

func TestParseTrust(t *testing.T) {
	const key = "log.example+1d7fd4b0+AQVUiTSBN4GFUnTAjlyFxcuVpfxLPYxOwPFSzHVsSVYl"
	for text, want := range map[string]string{
		"":                           "it has no logs",
		"logs: 3":                    "line 1: logs: want a list of entries with fields",
		"logs: [{quorom: 2}]":        `line 1: there is no field "quorom": did you mean "quorum"?`,
		"logs: []\n---\nlogs: []":    "line 2: there is more than one document",
		"logs: [{key: x}]":           "logs[0].key",
		"logs: [{key: " + key + "}]": "logs[0].key", // its hash is another's
		"logs: [{quorum: 1}]":        "logs[0].key",
	} {
		_, err := ParseTrust([]byte(text))
		if dossier.KindOf(err) != dossier.KindInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseTrust(make([]byte, MaxTrust+1)); dossier.KindOf(err) != dossier.KindLimit {
		t.Errorf("a large one: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	l := newLab(f)
	b, err := json.Marshal(l.prove(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	genuine := base64.StdEncoding.EncodeToString(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		r, err := Check(file, l.trust, nil)
		if err == nil && len(r.Faults) == 0 && r.Subject != l.image {
			t.Errorf("%s was changed into a proof of %s", genuine, r.Subject)
		}
	})
}
