// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/store/sqlstore/sqltest"
	"dossier.dev/dossier/internal/testimage"
)

// triageWorld is a cluster that runs an image with a critical finding and a moderate
// one, with a VEX document attached that says that neither matters.
type triageWorld struct {
	config ServeConfig
	ref    string
	digest dossier.Digest
	late   atomic.Int64 // how far the server's clock is ahead
}

func newTriageWorld(t *testing.T) *triageWorld {
	t.Helper()
	registry := testimage.NewRegistry(t, testimage.RegistryOptions{})
	shop := testimage.Image{Layers: []testimage.Layer{{Files: map[string]testimage.File{"app/package.json": testimage.Text(`{"name": "shop", "version": "1.0.0"}`)}}}}
	content, err := shop.Build()
	if err != nil {
		t.Fatal(err)
	}
	statement := func(id string) string {
		return `{"vulnerability":{"name":"` + id + `"},"products":[{"@id":"pkg:npm/shop"}],"status":"not_affected","justification":"inline_mitigations_already_exist"}`
	}
	index := testimage.Of(shop)
	index.Entries = append(index.Entries, testimage.Attestation(content.Digest(), []byte(
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://openvex.dev/ns/v0.2.0","subject":[{"digest":{"sha256":"`+content.Digest().Hex()+`"}}],"predicate":{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/1",`+
			`"author":"Shop","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[`+statement("GHSA-worst")+`,`+statement("GHSA-mild")+`]}}`)))
	w := &triageWorld{digest: testimage.MustPush(t, registry, "org/shop", "1", index).Digest()}
	w.ref = registry.Host + "/org/shop:1"

	base := t.TempDir()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for id, severity := range map[string]string{"GHSA-worst": "CRITICAL", "GHSA-mild": "MODERATE"} {
		f, err := z.Create(id + ".json")
		if err == nil {
			_, err = fmt.Fprintf(f, `{"id":%q,"modified":"2024-01-01T00:00:00Z","database_specific":{"severity":%q},"affected":[{"package":{"ecosystem":"npm","name":"shop"},"versions":["1.0.0"]}]}`, id, severity)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base, "npm"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "npm", "all.zip"), archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	k, options := startKubernetes(t)
	k.run("shop", w.ref, registry.Host+"/org/shop@"+string(w.digest))
	w.config = ServeConfig{
		Config: Config{Data: sqltest.Dir(t), Now: func() time.Time { return time.Now().Add(time.Duration(w.late.Load())) }},
		Listen: "127.0.0.1:0", Cluster: options, Advisories: config.Advisories{Base: base, Ecosystems: []string{"npm"}},
		NotifyPoll: 5 * time.Millisecond, TriageEvery: 5 * time.Millisecond,
	}
	w.config.Registry.Off = true
	return w
}

// counted waits until the server says of the image that these findings count, and
// those are suppressed, and returns what it says.
func (w *triageWorld) counted(t *testing.T, s serving, counted, suppressed string) (list dossier.FindingList) {
	t.Helper()
	c := newClient(t, s.url, client.Options{})
	eventually(t, func() string {
		var err error
		if list, err = c.Findings(t.Context(), dossier.FindingQuery{Ref: string(w.digest)}); err != nil {
			return err.Error()
		}
		var is, out []string
		for _, f := range list.Findings {
			is = append(is, f.ID)
		}
		for _, f := range list.Suppressed {
			out = append(out, f.ID)
		}
		slices.Sort(is)
		slices.Sort(out)
		if got := strings.Join(is, " "); got != counted || strings.Join(out, " ") != suppressed {
			return fmt.Sprintf("%q count and %q are suppressed, want %q and %q", got, out, counted, suppressed)
		}
		return ""
	})
	return list
}

// TestAttachedVEX: what documents attached to an image may take out is for the
// configuration to say.
func TestAttachedVEX(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t)
	for _, tt := range []struct{ attached, counted, suppressed, note string }{
		{"", "GHSA-mild GHSA-worst", "", "1 VEX document attached to the image not applied"},
		{"none", "GHSA-mild GHSA-worst", "", "1 VEX document attached to the image not applied"},
		{"limited", "GHSA-worst", "GHSA-mild", "that counts for nothing critical, high or exploited"},
		{"all", "", "GHSA-mild GHSA-worst", ""},
	} {
		t.Run(tt.attached, func(t *testing.T) {
			c := w.config
			c.Triage.Attached = tt.attached
			s := serve(t, c)
			eventually(t, func() string { // the document is read after the image
				list := w.counted(t, s, tt.counted, tt.suppressed)
				notes := slices.Clone(list.Notes)
				for _, f := range list.Findings {
					notes = append(notes, f.Notes...)
				}
				if strings.Contains(strings.Join(notes, "\n"), tt.note) {
					return ""
				}
				return fmt.Sprintf("notes are %q, want one with %q", notes, tt.note)
			})
			// The answer counts alike.
			d, err := newClient(t, s.url, client.Options{}).Dossier(t.Context(), string(w.digest), dossier.Times{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := mustJSON(t, d), fmt.Sprintf("%d suppressed", len(strings.Fields(tt.suppressed))); tt.suppressed != "" && !strings.Contains(got, want) {
				t.Errorf("the answer does not say %q: %s", want, got)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// told keeps the events that a server sends.
type told struct {
	mu     sync.Mutex
	events []string
}

// ServeHTTP implements http.Handler.
func (r *told) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var e struct {
		Type string `json:"type"`
		Data struct {
			Reason   string `json:"reason"`
			Findings []struct {
				ID string `json:"id"`
			} `json:"findings"`
		} `json:"data"`
	}
	if err != nil || json.Unmarshal(body, &e) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	line := strings.TrimPrefix(e.Type, "dev.dossier.") + " " + e.Data.Reason
	for _, f := range e.Data.Findings {
		line += " " + f.ID
	}
	r.events = append(r.events, line)
}

// wait waits until an event came, and finds that it is the last one.
func (r *told) wait(t *testing.T, want string) {
	t.Helper()
	eventually(t, func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.events); n > 0 && r.events[n-1] == want {
			return ""
		}
		return fmt.Sprintf("told %q, want %q at the end", r.events, want)
	})
}

// TestTriageFilesChange: files are read again as they change, an ignore ends by
// itself although it came while the server ran, one that cannot be read changes
// nothing, and all of it is told.
func TestTriageFilesChange(t *testing.T) {
	t.Parallel()
	w := newTriageWorld(t)
	r := &told{}
	receiver := httptest.NewServer(r)
	defer receiver.Close()
	dir := t.TempDir()
	vexes, ignores := filepath.Join(dir, "vex"), filepath.Join(dir, "ignores")
	for _, d := range []string{vexes, ignores} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(file, text string) {
		t.Helper()
		part := filepath.Join(dir, "part")
		if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(part, file); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	w.config.Triage = config.Triage{VEX: []string{vexes}, Ignore: []string{ignores}}
	w.config.Notifications = config.Notifications{Gather: time.Millisecond, Targets: []config.NotifyTarget{{Name: "one", URL: receiver.URL, Secret: filepath.Join(dir, "key")}}}
	s := serve(t, w.config)
	w.counted(t, s, "GHSA-mild GHSA-worst", "")
	r.wait(t, "image.started  GHSA-worst GHSA-mild")

	ignore := filepath.Join(ignores, "team.yaml")
	until := w.config.Now().Add(20 * time.Minute) // before everything is compared anyway
	entry := func(id string) string {
		return fmt.Sprintf("ignore:\n  - {vulnerability: %s, owner: team, reason: No input gets there., expires: %s}\n", id, until.UTC().Format(time.RFC3339))
	}
	write(ignore, entry("GHSA-worst"))
	list := w.counted(t, s, "GHSA-mild", "GHSA-worst")
	if by := list.Suppressed[0].By; len(by) != 1 || by[0].Source != "team.yaml:2" || by[0].Author != "team" || by[0].Expires.Unix() != until.Unix() {
		t.Errorf("who says so: %+v", by)
	}
	r.wait(t, "finding.gone suppressed GHSA-worst")

	write(filepath.Join(vexes, "vendor.json"), `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/2","author":"Vendor","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[
{"vulnerability":{"name":"GHSA-mild"},"products":[{"@id":"pkg:npm/shop@1.0.0"}],"status":"not_affected","justification":"component_not_present"}]}`)
	w.counted(t, s, "", "GHSA-mild GHSA-worst")
	r.wait(t, "finding.gone suppressed GHSA-mild")

	// A file that is broken takes nothing back.
	write(ignore, "ignore: [{vulnerability: GHSA-mild}]")
	time.Sleep(10 * w.config.TriageEvery) // whatever would happen has happened
	w.counted(t, s, "", "GHSA-mild GHSA-worst")
	write(ignore, entry("GHSA-worst"))

	// It is gone, as a file: the finding is back.
	if err := os.Remove(filepath.Join(vexes, "vendor.json")); err != nil {
		t.Fatal(err)
	}
	w.counted(t, s, "GHSA-mild", "GHSA-worst")
	r.wait(t, "finding.new ignore GHSA-mild")

	// It ends, and nobody does anything.
	w.late.Store(int64(21 * time.Minute))
	list = w.counted(t, s, "GHSA-mild GHSA-worst", "")
	if !slices.ContainsFunc(list.Notes, func(n string) bool { return strings.HasPrefix(n, "team.yaml:2: ignoring GHSA-worst expired on ") }) {
		t.Errorf("notes are %q, want one about what expired", list.Notes)
	}
	r.wait(t, "finding.new ignore GHSA-worst")
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
