// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// bucket is a bucket of feeds in memory: by path, as OSV lays them out.
type bucket struct {
	mu      sync.Mutex
	files   map[string][]byte
	log     []string                                          // what was asked for
	meddle  func(w http.ResponseWriter, r *http.Request) bool // answers itself, if it returns true
	sums    bool                                              // send sums as Google's storage does
	noRange bool
}

// put makes a feed of records: ID to the minute of its last change.
func (b *bucket) put(t testing.TB, ecosystem string, records map[string]int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files == nil {
		b.files = map[string][]byte{}
	}
	for name := range b.files {
		if strings.HasPrefix(name, ecosystem+"/") {
			delete(b.files, name)
		}
	}
	var ids []string
	for id := range records {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, c string) int { return records[c] - records[a] })
	var list strings.Builder
	var members []member
	for _, id := range ids {
		at := time.Date(2024, 1, 1, 0, records[id], 0, 0, time.UTC).Format(time.RFC3339)
		body := fmt.Sprintf(`{"id":%q,"modified":%q,"affected":[{"package":{"ecosystem":%q,"name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}],"details":%q}`,
			id, at, ecosystem, strings.Repeat(id, 50))
		members = append(members, member{id + ".json", body})
		b.files[ecosystem+"/"+id+".json"] = []byte(body)
		fmt.Fprintf(&list, "%s,%s\n", at, id)
	}
	b.files[ecosystem+"/"+archiveName] = archiveOf(t, members...)
	b.files[ecosystem+"/"+listName] = []byte(list.String())
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/bucket/")
	entry := name
	if g := r.Header.Get("Range"); g != "" {
		entry += " " + g
	}
	b.log = append(b.log, entry)
	if b.meddle != nil && b.meddle(w, r) {
		return
	}
	body, ok := b.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", dossier.FromBytes(body).Short()))
	if b.sums {
		w.Header().Set("X-Goog-Hash", "crc32c="+sumOf(body)+",md5=x")
	}
	if b.noRange {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func sumOf(b []byte) string {
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// asked returns what was asked for since the last time.
func (b *bucket) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.log
	b.log = nil
	return out
}

// mirror is what follows a bucket: what a store would keep.
type mirror struct {
	Fetcher
	have Have
	ids  map[string]bool
}

func newMirror(t *testing.T, b *bucket) *mirror {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	m := &mirror{Fetcher: Fetcher{Base: server.URL + "/bucket", Client: server.Client(), Dir: t.TempDir()}, ids: map[string]bool{}}
	m.have.Known = func(_ context.Context, ids []string) (n int, err error) {
		for _, id := range ids {
			if m.ids[id] {
				n++
			}
		}
		return n, nil
	}
	return m
}

// update fetches and keeps, and says what came: "full A-1 A-2", "changed A-1",
// "unchanged", or the kind of error.
func (m *mirror) update(t *testing.T, ecosystem string) string {
	t.Helper()
	u, err := m.Fetch(t.Context(), ecosystem, m.have)
	if err != nil {
		return string(dossier.KindOf(err))
	}
	defer func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}()
	if u.Unchanged {
		m.have.State = u.State
		return "unchanged"
	}
	ids := map[string]bool{}
	for r, err := range u.Records {
		if err != nil {
			return "broken: " + string(dossier.KindOf(err))
		}
		ids[r.ID] = true
	}
	out := "changed"
	if u.Full {
		m.ids, out = map[string]bool{}, "full"
	}
	var sorted []string
	for id := range ids {
		m.ids[id] = true
		sorted = append(sorted, id)
	}
	slices.Sort(sorted)
	m.have.State, m.have.Records = u.State, len(m.ids)
	return strings.Join(append([]string{out}, sorted...), " ")
}

func TestFetchFollows(t *testing.T) {
	b := &bucket{sums: true}
	m := newMirror(t, b)
	want := func(step, want string, asked ...string) {
		t.Helper()
		if got := m.update(t, "Rocky Linux:9"); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
		if diff := cmp.Diff(asked, b.asked()); diff != "" {
			t.Errorf("%s: asked for (-want +got):\n%s", step, diff)
		}
	}
	const list, archive = "Rocky Linux:9/modified_id.csv", "Rocky Linux:9/all.zip"
	want("no such feed", "not found", list, archive)
	b.put(t, "Rocky Linux:9", map[string]int{"A-1": 1, "A-2": 2})
	want("the first time", "full A-1 A-2", list, archive)
	want("nothing new", "unchanged", list)
	b.put(t, "Rocky Linux:9", map[string]int{"A-1": 1, "A-2": 5, "A-3": 6})
	want("one changed, one new", "changed A-2 A-3", list, "Rocky Linux:9/A-2.json", "Rocky Linux:9/A-3.json")
	want("nothing new again", "unchanged", list)
	b.put(t, "Rocky Linux:9", map[string]int{"A-2": 5, "A-3": 6})
	want("one removed", "full A-2 A-3", list, archive)
	b.put(t, "Rocky Linux:9", map[string]int{"A-2": 5, "A-4": 7})
	want("one removed and one new", "full A-2 A-4", list, archive)
	m.Few = 1
	b.put(t, "Rocky Linux:9", map[string]int{"A-2": 8, "A-4": 9})
	want("many changed", "full A-2 A-4", list, archive)
	if left, err := os.ReadDir(m.Dir); err != nil || len(left) != 0 {
		t.Errorf("downloads are left behind: %v %v", left, err)
	}
}

// TestFetchWithoutList follows a mirror that has archives only.
func TestFetchWithoutList(t *testing.T) {
	b := &bucket{}
	m := newMirror(t, b)
	for i, want := range []string{"full A-1", "unchanged", "full A-1 A-2"} {
		records := map[string]int{"A-1": 1}
		if i == 2 {
			records["A-2"] = 2
		}
		b.put(t, "npm", records)
		delete(b.files, "npm/"+listName)
		if got := m.update(t, "npm"); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

// TestArchiveOlderThanList must not lose what only the list tells of yet.
func TestArchiveOlderThanList(t *testing.T) {
	b := &bucket{}
	m := newMirror(t, b)
	b.put(t, "npm", map[string]int{"A-1": 1})
	old := b.files["npm/"+archiveName]
	b.put(t, "npm", map[string]int{"A-1": 1, "A-2": 2})
	b.files["npm/"+archiveName] = old
	for i, want := range []string{"full A-1", "changed A-2", "unchanged"} {
		if got := m.update(t, "npm"); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

// TestFetchFromDirectory reads the same layout from files.
func TestFetchFromDirectory(t *testing.T) {
	b := &bucket{}
	b.put(t, "npm", map[string]int{"A-1": 1, "A-2": 2})
	dir := t.TempDir()
	for _, address := range []string{dir, "file://" + dir} {
		for name, body := range b.files {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m := newMirror(t, b)
		m.Base = address
		for i, want := range []string{"full A-1 A-2", "unchanged"} {
			if got := m.update(t, "npm"); got != want {
				t.Errorf("%s, %d: %s, want %s", address, i, got, want)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "npm", archiveName)); err != nil {
			t.Errorf("the mirror lost its archive: %v", err)
		}
	}
}

// breakOff serves the first n bytes of what is asked for and then ends.
func (b *bucket) breakOff(n int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		name := strings.TrimPrefix(r.URL.Path, "/bucket/")
		if !strings.HasSuffix(name, archiveName) {
			return false
		}
		body := b.files[name]
		from := 0
		if g := r.Header.Get("Range"); g != "" {
			if _, err := fmt.Sscanf(g, "bytes=%d-", &from); err != nil {
				panic(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", dossier.FromBytes(body).Short()))
		w.Header().Set("Content-Length", fmt.Sprint(len(body)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(body[from:min(from+n, len(body))])
		if from+n < len(body) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func TestDownloadIsContinued(t *testing.T) {
	b := &bucket{}
	records := map[string]int{}
	for i := range 100 {
		records[fmt.Sprintf("A-%d", i)] = i
	}
	b.put(t, "npm", records)
	size := len(b.files["npm/"+archiveName])
	third := size/3 + 1
	archives := func() (out []string) {
		for _, a := range b.asked() {
			if strings.Contains(a, archiveName) {
				out = append(out, strings.TrimPrefix(a, "npm/all.zip"))
			}
		}
		return out
	}

	t.Run("at once", func(t *testing.T) {
		m := newMirror(t, b)
		b.meddle = b.breakOff(third)
		if got := m.update(t, "npm"); !strings.HasPrefix(got, "full A-0 ") {
			t.Errorf("%s", got)
		}
		want := []string{"", fmt.Sprintf(" bytes=%d-", third), fmt.Sprintf(" bytes=%d-", 2*third)}
		if diff := cmp.Diff(want, archives()); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
	})
	t.Run("the next time", func(t *testing.T) {
		m := newMirror(t, b)
		b.meddle = b.breakOff(size / 8)
		if got := m.update(t, "npm"); got != "unavailable" {
			t.Errorf("%s", got)
		}
		archives()
		b.meddle = nil
		if got := m.update(t, "npm"); !strings.HasPrefix(got, "full A-0 ") {
			t.Errorf("%s", got)
		}
		if diff := cmp.Diff([]string{fmt.Sprintf(" bytes=%d-", 3*(size/8))}, archives()); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
	})
	t.Run("but not when the file is another by then", func(t *testing.T) {
		m := newMirror(t, b)
		b.meddle = b.breakOff(size / 8)
		m.update(t, "npm")
		b.meddle = nil
		b.put(t, "npm", map[string]int{"B-1": 1})
		if got := m.update(t, "npm"); got != "full B-1" {
			t.Errorf("%s", got)
		}
		b.put(t, "npm", records)
	})
	t.Run("nor when the server cannot", func(t *testing.T) {
		m := newMirror(t, b)
		b.meddle = b.breakOff(size / 8)
		m.update(t, "npm")
		b.meddle, b.noRange = nil, true
		if got := m.update(t, "npm"); !strings.HasPrefix(got, "full A-0 ") {
			t.Errorf("%s", got)
		}
		b.noRange = false
	})
	t.Run("also when it was complete", func(t *testing.T) {
		m := newMirror(t, b)
		b.meddle = b.breakOff(size / 8)
		m.update(t, "npm")
		b.meddle = nil
		parts, err := filepath.Glob(filepath.Join(m.Dir, "*"+downloaded))
		if err != nil || len(parts) != 1 {
			t.Fatalf("%v %v", parts, err)
		}
		if err := os.WriteFile(parts[0], b.files["npm/"+archiveName], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.update(t, "npm"); !strings.HasPrefix(got, "full A-0 ") {
			t.Errorf("%s", got)
		}
	})
}

// TestFetchRefuses has servers that lie or break.
func TestFetchRefuses(t *testing.T) {
	answer := func(suffix string, do func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, suffix) {
				do(w)
				return true
			}
			return false
		}
	}
	text := func(s string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = w.Write([]byte(s)) }
	}
	status := func(n int) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(n) } }
	for _, tt := range []struct {
		name      string
		ecosystem string
		limits    Limits
		meddle    func(http.ResponseWriter, *http.Request) bool
		want      string
	}{
		{"a name that leads out", "../npm", Limits{}, nil, "invalid"},
		{"no name", "", Limits{}, nil, "invalid"},
		{"a list that is none", "npm", Limits{}, answer(listName, text("<html>")), "corrupt"},
		{"a list of paths", "npm", Limits{}, answer(listName, text("2024-01-01T00:00:00Z,../../x\n")), "corrupt"},
		{"an empty list", "npm", Limits{}, answer(listName, text("")), "corrupt"},
		{"a long list", "npm", Limits{Table: 30}, nil, "limit"},
		{"many lines", "npm", Limits{Records: 1}, nil, "limit"},
		{"a list of one endless line", "npm", Limits{}, answer(listName, text(strings.Repeat("x", 100_000))), "unavailable"},
		{"a large archive", "npm", Limits{Archive: 100}, nil, "limit"},
		{"an archive that is none", "npm", Limits{}, answer(archiveName, text("<html>")), "broken: corrupt"},
		{"a wrong sum", "npm", Limits{}, answer(archiveName, func(w http.ResponseWriter) {
			w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==")
			_, _ = w.Write([]byte("x"))
		}), "corrupt"},
		{"an endless archive", "npm", Limits{Archive: 1000}, answer(archiveName, func(w http.ResponseWriter) {
			for range 100 {
				_, _ = w.Write(make([]byte, 1000))
			}
		}), "limit"},
		{"forbidden", "npm", Limits{}, answer(listName, status(http.StatusForbidden)), "denied"},
		{"out of order", "npm", Limits{}, answer(listName, status(http.StatusBadGateway)), "unavailable"},
		{"another part", "npm", Limits{}, answer(archiveName, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}), "unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bucket{meddle: tt.meddle}
			b.put(t, "npm", map[string]int{"A-1": 1, "A-2": 2})
			m := newMirror(t, b)
			m.Limits = tt.limits
			if got := m.update(t, tt.ecosystem); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestChangedRecordMustBeTheOne that was asked for.
func TestChangedRecordMustBeTheOne(t *testing.T) {
	b := &bucket{}
	m := newMirror(t, b)
	b.put(t, "npm", map[string]int{"A-1": 1, "A-2": 2})
	m.update(t, "npm")
	b.put(t, "npm", map[string]int{"A-1": 3, "A-2": 2})
	b.files["npm/A-1.json"] = b.files["npm/A-2.json"]
	if got := m.update(t, "npm"); got != "broken: corrupt" {
		t.Errorf("%s", got)
	}
	delete(b.files, "npm/A-1.json")
	if got := m.update(t, "npm"); got != "broken: not found" {
		t.Errorf("%s", got)
	}
}

func TestBases(t *testing.T) {
	for address, want := range map[string]dossier.Kind{
		"ftp://example.org": dossier.KindInvalid, "https://": dossier.KindInvalid, "file://host/x": dossier.KindInvalid, "file://": dossier.KindInvalid,
		"https://example.org/?a=b": dossier.KindInvalid, "https://example.org/a": "", "file:///a": "", "a/b": "", "/a": "",
	} {
		if _, err := parseBase(address, nil); dossier.KindOf(err) != want {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	f := Fetcher{Base: "http://127.0.0.1:1"}
	if _, err := f.Fetch(t.Context(), "npm", Have{}); dossier.KindOf(err) != dossier.KindUnavailable || strings.Count(err.Error(), "127.0.0.1:1/") != 1 {
		t.Errorf("nobody there: %v", err)
	}
}

func TestEcosystems(t *testing.T) {
	b := &bucket{files: map[string][]byte{"ecosystems.txt": []byte("npm\nDebian:12\n\n../x\nRocky Linux\n")}}
	m := newMirror(t, b)
	got, err := m.Ecosystems(t.Context())
	if diff := cmp.Diff([]string{"npm", "Debian:12", "Rocky Linux"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func FuzzParseChange(f *testing.F) {
	f.Add("2024-08-15T00:05:00.123456Z,GO-2024-1234")
	f.Add("2024-08-15T00:05:00Z,../x\r")
	f.Fuzz(func(t *testing.T, line string) {
		at, id, err := parseChange(line)
		if err == nil && (at.IsZero() && !strings.HasPrefix(line, "0001-01-01") || strings.ContainsAny(id, "/\\\n,")) {
			t.Errorf("%q: %v %q", line, at, id)
		}
	})
}
