// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// stock is go-tuf's own client, with a cache that it keeps.
type stock struct {
	testing.TB
	url, dir string
	root     []byte
	now      func() time.Time
}

// client returns a client that has updated itself, or why it could not.
func (s stock) client() (*updater.Updater, error) {
	s.Helper()
	c, err := config.New(s.url, s.root)
	if err != nil {
		s.Fatal(err)
	}
	c.LocalMetadataDir, c.LocalTargetsDir = filepath.Join(s.dir, "metadata"), filepath.Join(s.dir, "targets")
	u, err := updater.New(c)
	if err != nil {
		s.Fatal(err)
	}
	if s.now != nil {
		u.UnsafeSetRefTime(s.now())
	}
	return u, u.Refresh()
}

// means asks what a target is signed to mean, and reads it.
func (s stock) means(target string) (dossier.Digest, []byte) {
	s.Helper()
	u, err := s.client()
	if err != nil {
		s.Fatal(err)
	}
	info, err := u.GetTargetInfo(target)
	if err != nil {
		s.Fatal(err)
	}
	d, err := digestOf(info)
	if err != nil {
		s.Fatal(err)
	}
	_, body, err := u.DownloadTarget(info, "", "")
	if err != nil {
		s.Fatal(err)
	}
	return d, body
}

// TestStockClient: go-tuf's client updates from what a Repository publishes, from the first root on: by an owner's role, by a
// bin of the server, over a change of keys, and not when it is frozen.
func TestStockClient(t *testing.T) {
	w, site, app := tagged(t)
	s := stock{TB: t, url: w.web.url, dir: t.TempDir(), root: w.rootFile(1), now: w.now}
	check := func(target string, want dossier.Digest) {
		t.Helper()
		d, body := s.means(target)
		if d != want || !want.Matches(body) && !strings.HasPrefix(target, testPrefix+"/app") {
			t.Errorf("%s means %s, %d bytes, want %s", target, d, len(body), want)
		}
	}
	check(testPrefix+"/site:1", site)
	u, err := s.client()
	w.must(err)
	if info, err := u.GetTargetInfo(testPrefix + "/app:1"); err != nil || info.Hashes["sha256"].String() != app.Hex() {
		t.Errorf("app:1 is %+v, %v", info, err)
	}
	if _, err := u.GetTargetInfo(testPrefix + "/site:none"); err == nil {
		t.Error("a tag that there is not means something")
	}
	moved := w.push(testPrefix+"/site", "1", "moved")
	w.step()
	check(testPrefix+"/site:1", moved)
	for range 3 {
		w.rotateOnline()
	}
	check(testPrefix+"/site:1", moved)
	if u, err = s.client(); err != nil || u.GetTrustedMetadataSet().Root.Signed.Version != 4 {
		t.Errorf("root is %d, %v", u.GetTrustedMetadataSet().Root.Signed.Version, err)
	}
	w.pass(TimestampLife + time.Minute)
	if _, err := s.client(); err == nil {
		t.Error("an old timestamp is taken")
	}
	w.step()
	check(testPrefix+"/site:1", moved)
	s.dir = t.TempDir() // somebody else, from the first root
	check(testPrefix+"/site:1", moved)
}

// TestStockRepository: what go-tuf's own tests have as a repository, our verifier reads: RSA keys, key IDs and names of
// targets that are not ours, roles that delegate further.
func TestStockRepository(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/theupdateframework/go-tuf/v2").Output()
	if err != nil {
		t.Skipf("the module cache cannot be asked: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "testutils", "repository_data", "repository", "metadata")
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Setenv("GODEBUG", "rsa1024min=0") // one of its keys has 1023 bits
	root := read("root.json")
	w := &web{changed: map[string][]byte{}, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The files lie there without their versions, which are 1.
		name := strings.TrimPrefix(filepath.Base(r.URL.Path), "1.")
		http.ServeFile(w, r, filepath.Join(dir, name))
	})}
	url := serve(t, w)
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ask := func(target string, source Source) Result {
		t.Helper()
		v := Verifier{Store: openStore(t, func() time.Time { return at }), Now: func() time.Time { return at }, Source: source}
		s := &session{Verifier: v, q: Request{Source: testSource, Root: root}, now: at, kept: map[string]store.TUFFile{},
			next: map[string]store.TUFFile{}, result: Result{Target: target}}
		if err := s.run(t.Context()); err != nil {
			f := classify("target", err)
			s.result.Reason, s.result.Why = f.reason, f.Error()
		}
		return s.result
	}
	for _, tt := range []struct {
		target, role string
		want         Reason
	}{
		{"file1.txt", Targets, ""}, {"file3.txt", "role1", ""}, {"file2.txt", "", ReasonUnknown},
	} {
		r := ask(tt.target, HTTP{URL: url, Client: http.DefaultClient})
		if r.Reason != tt.want || r.Role != tt.role || (tt.want == "") != (r.Digest != "") {
			t.Errorf("%s: %+v", tt.target, r)
		}
	}
	// The same, one byte of a signed file changed.
	w.replace("1.role1.json", []byte(strings.Replace(string(read("role1.json")), "141f740f", "241f740f", 1)))
	if r := ask("file3.txt", HTTP{URL: url, Client: http.DefaultClient}); r.Reason != ReasonThreshold {
		t.Errorf("a changed role is taken: %+v", r)
	}
	// A root whose signature go-tuf's authors made up.
	root = read("1.root.json")
	if r := ask("file1.txt", HTTP{URL: url, Client: http.DefaultClient}); r.Reason != ReasonThreshold {
		t.Errorf("a root that is not signed is taken: %+v", r)
	}
}
