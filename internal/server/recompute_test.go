// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/feed"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/proof"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
	"dossier.dev/dossier/internal/translog"
)

// osvRecord is an advisory about the npm package shop before 2.0.1.
const osvRecord = `{"id":"GHSA-1111","modified":"2024-01-01T00:00:00Z","aliases":["CVE-2024-1111"],"database_specific":{"severity":"CRITICAL"},"affected":[{"package":{"ecosystem":"npm","name":"shop"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.1"}]}]}]}`

// compared is a store with an image whose packages were compared with advisories.
type compared struct {
	data, image, feed string
	digest            dossier.Digest
}

func newCompared(t *testing.T) compared {
	t.Helper()
	dir := t.TempDir()
	c := compared{data: filepath.Join(dir, "data"), image: "oci:" + filepath.Join(dir, "web") + ":1", feed: filepath.Join(dir, "npm")}
	content, err := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{
		"app/package.json": testimage.Text(`{"name": "shop", "version": "2.0.0"}`),
	}}}}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := testimage.WriteLayout(filepath.Join(dir, "web"), "1", content); err != nil {
		t.Fatal(err)
	}
	c.digest = content.Digest()
	writeFeed(t, c.feed, osvRecord)
	e := c.open(t)
	if stale, err := e.Refresh(t.Context(), c.image); stale != nil || err != nil {
		t.Fatal(stale, err)
	}
	advisories, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(c.data, AdvisoryFile)})
	if err != nil {
		t.Fatal(err)
	}
	k := feed.Keeper{Store: advisories, Now: time.Now}
	if err := k.Import(t.Context(), c.feed, func(feed.Report) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := advisories.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Match(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFeed(t *testing.T, dir string, records ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), []byte(r), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (c compared) open(t *testing.T) *Engine {
	t.Helper()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	e, err := Open(t.Context(), Config{Data: c.data, Offline: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// check proves what the store says, and checks that with the advisories in a directory. forge changes the file.
func (c compared) check(t *testing.T, feed string, forge func(*proof.File)) proof.Report {
	t.Helper()
	e := c.open(t)
	b, err := e.Proof(t.Context(), string(c.digest), dossier.Times{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := proof.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if forge != nil {
		forge(&f)
	}
	_, key, err := translog.OpenKey(filepath.Join(c.data, LogKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := proof.ParseTrust([]byte("logs: [{key: " + key + "}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := proof.Check(f, trust, nil)
	if err == nil {
		err = Recompute(t.Context(), &r, feed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c compared) exec(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(c.data, file))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("%s changed nothing: %v", statement, err)
	}
}

// TestRecompute proves vulnerabilities by the packages and the advisories themselves.
func TestRecompute(t *testing.T) {
	c := newCompared(t)
	r := c.check(t, c.feed, nil)
	if len(r.Faults) > 0 {
		t.Fatalf("%q", r.Faults)
	}
	said := fmt.Sprint(r.Proven)
	for _, want := range []string{"1 package is in the image", "the advisories are those that the log claims, 1 of 1 feeds", "follow from its packages and the advisories in " + c.feed + ": 1"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing says %q: %s", want, said)
		}
	}
	if !strings.Contains(fmt.Sprint(r.Claimed), ", update 1, sha256:") {
		t.Errorf("the claim has no digest of the feed: %s", fmt.Sprint(r.Claimed))
	}
	other, none := filepath.Join(t.TempDir(), "npm"), filepath.Join(t.TempDir(), "pypi")
	writeFeed(t, other, strings.Replace(osvRecord, "2.0.1", "1.0.1", 1))
	writeFeed(t, none, strings.Replace(osvRecord, "npm", "PyPI", 1))
	for name, test := range map[string]struct {
		feed  string
		forge func(*proof.File)
		want  string
	}{
		"advisories that say something else": {other, nil, "the advisories npm in " + other + " are not those of the proof"},
		"other advisories":                   {none, nil, "are not in " + none},
		"what was read of a layer": {c.feed, func(f *proof.File) {
			for id, body := range f.Layers {
				f.Layers[id] = body[1:]
			}
		}, "is not what the fact"},
		"no layers":                  {c.feed, func(f *proof.File) { f.Layers = nil }, "are not proven, and cannot be compared"},
		"another digest of the feed": {c.feed, func(f *proof.File) { f.Feeds[0].Digest = dossier.FromBytes(nil) }, "the claim was signed for another answer"},
		"no digest of the feed":      {c.feed, func(f *proof.File) { f.Feeds = nil }, "the claim was signed for another answer"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := c.check(t, test.feed, test.forge); !strings.Contains(strings.Join(r.Faults, "\n"), test.want) {
				t.Errorf("found %q, want %s", r.Faults, test.want)
			}
		})
	}
}

// TestRecomputeLies has an operator who changes rows, and whose server signs for what they say then.
func TestRecomputeLies(t *testing.T) {
	for name, test := range map[string]struct{ file, statement, want string }{
		"a finding is deleted":      {DatabaseFile, `DELETE FROM finding`, "CVE-2024-1111 in shop 2.0.0 of sha256:"},
		"a finding is another":      {DatabaseFile, `UPDATE finding SET vulnerability = 'CVE-2024-0001'`, "CVE-2024-0001 of sha256:"},
		"a severity is lower":       {DatabaseFile, `UPDATE finding SET severity = 'low'`, "is said to be low, and the advisories say critical"},
		"an advisory is deleted":    {AdvisoryFile, `DELETE FROM advisory`, "the advisories npm in"},
		"an advisory is withdrawn":  {AdvisoryFile, `UPDATE advisory SET to_serial = 1`, "the advisories npm in"},
		"no package was vulnerable": {DatabaseFile, `UPDATE finding SET known_to = known_from`, "is not among the vulnerabilities of the proof"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompared(t)
			c.exec(t, test.file, test.statement)
			if r := c.check(t, c.feed, nil); !strings.Contains(strings.Join(r.Faults, "\n"), test.want) {
				t.Errorf("found %q, want %s", r.Faults, test.want)
			}
		})
	}
}

// TestRebuiltAnswers damages what is made of facts, makes it again, and is answered the same.
func TestRebuiltAnswers(t *testing.T) {
	c := newCompared(t)
	answers := func() string {
		e := c.open(t)
		defer e.Close()
		told, err := e.Dossier(t.Context(), string(c.digest), dossier.Times{})
		if err != nil {
			return err.Error()
		}
		bill, err := e.SBOM(t.Context(), dossier.SBOMQuery{Ref: string(c.digest)})
		if err != nil {
			return err.Error()
		}
		found, err := e.Findings(t.Context(), dossier.FindingQuery{Ref: string(c.digest)})
		if err != nil {
			return err.Error()
		}
		list, err := e.Where(t.Context(), "shop", 10)
		if err != nil {
			return err.Error()
		}
		b, err := json.MarshalIndent([]any{told, bill, found, list}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := answers()
	for _, statement := range []string{`DELETE FROM edge`, `DELETE FROM image`, `DELETE FROM package_member`, `DELETE FROM term`, `UPDATE package SET name = 'else', body = replace(body, 'shop', 'else')`, `DELETE FROM image_read`} {
		c.exec(t, DatabaseFile, statement)
	}
	if answers() == before {
		t.Fatal("nothing was damaged")
	}
	e := c.open(t)
	if _, err := e.RebuildLog(t.Context(), func(ingest.Mended) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, answers()); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
