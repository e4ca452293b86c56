// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dossier.dev/dossier"
)

const opImport = "importing advisories"

// Kind is a form in which advisories, or what is said beside them, come.
type Kind string

// The kinds.
const (
	KindArchive Kind = "osv archive" // a zip of OSV records
	KindOSV     Kind = "osv"         // OSV records, a file each
	KindAlpine  Kind = "alpine secdb"
	KindTracker Kind = "debian tracker"
	KindList    Kind = "debian list"
	KindCSAF    Kind = "csaf" // documents, a file each
	KindKEV     Kind = "kev"
	KindEPSS    Kind = "epss"
)

// Found is a feed that lies in files.
type Found struct {
	Kind  Kind
	Feed  string   // its name: of the ecosystem, or of the file or directory
	Paths []string // in order
}

// maxWalked bounds how many files of a directory are looked at.
const maxWalked = 2_000_000

// Find says what a file or a directory holds, by what is in it and not by its
// name. In a directory, OSV records and CSAF documents are each one feed named
// for it; every other file is a feed of its own. What is not recognised there is
// passed over; a single file that is not recognised is KindUnsupported.
func Find(path string, limits Limits) ([]Found, error) {
	limits = limits.orDefault()
	info, err := os.Stat(path)
	if err != nil {
		return nil, importError(err, path)
	}
	if !info.IsDir() {
		found, err := recognise(path, limits)
		if err == nil && found.Kind == "" {
			err = &dossier.Error{
				Kind: dossier.KindUnsupported, Op: opImport, Subject: path, Err: errors.New("it is nothing that can be imported"),
				Hint: "import OSV (all.zip or JSON), Alpine secdb, Debian's security tracker or lists, CSAF, KEV or EPSS files",
			}
		}
		return []Found{found}, err
	}
	var out []Found
	groups := map[Kind]*Found{}
	n := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if n++; n > maxWalked {
			return dossier.Errorf(dossier.KindLimit, opImport, path, fmt.Sprintf("it has more than %d files", maxWalked))
		}
		found, err := recognise(name, limits)
		switch {
		case err != nil || found.Kind == "":
			return err
		case found.Kind != KindOSV && found.Kind != KindCSAF:
			out = append(out, found)
			return nil
		}
		if groups[found.Kind] == nil {
			groups[found.Kind] = &Found{Kind: found.Kind, Feed: feedName(path)}
		}
		groups[found.Kind].Paths = append(groups[found.Kind].Paths, name)
		return nil
	})
	if err != nil {
		return nil, importError(err, path)
	}
	for _, kind := range []Kind{KindOSV, KindCSAF} {
		if g := groups[kind]; g != nil {
			out = append(out, *g)
		}
	}
	if len(out) == 0 {
		return nil, &dossier.Error{Kind: dossier.KindNotFound, Op: opImport, Subject: path, Err: errors.New("there is nothing in it that can be imported")}
	}
	return out, nil
}

// importError says what is wrong with a file, unless err does.
func importError(err error, path string) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	e := fileError(err, path)
	if d, ok := errors.AsType[*dossier.Error](e); ok {
		d.Op = opImport
	}
	return e
}

// feedName makes the name of a feed of a path: of the file, or of the directory
// in which it lies when that is an ecosystem's.
func feedName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	base := filepath.Base(path)
	if base == archiveName {
		base = filepath.Base(filepath.Dir(path))
	}
	for _, ext := range []string{".gz", ".zip", ".json", ".csv"} {
		base = strings.TrimSuffix(base, ext)
	}
	name := strings.Map(func(r rune) rune {
		if ecosystemPattern.MatchString("a" + string(r)) {
			return r
		}
		return '-'
	}, base)
	if !ecosystemPattern.MatchString(name) {
		return "import"
	}
	return name
}

// recognise says what one file is. Kind is empty when it is nothing of these.
func recognise(path string, limits Limits) (Found, error) {
	f, err := os.Open(path)
	if err != nil {
		return Found{}, importError(err, path)
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Found{}, importError(err, path)
	}
	head = head[:n]
	found := Found{Feed: feedName(path), Paths: []string{path}}
	switch text := string(bytes.TrimLeft(head, "\ufeff \t\r\n")); {
	case strings.HasPrefix(text, "PK\x03\x04"), strings.HasPrefix(text, "PK\x05\x06"):
		found.Kind = KindArchive
	case strings.HasPrefix(text, "\x1f\x8b"), strings.HasPrefix(text, "#model_version"), strings.HasPrefix(text, "cve,epss"):
		found.Kind, found.Feed = KindEPSS, "EPSS"
	case strings.HasPrefix(text, "{"):
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return Found{}, importError(err, path)
		}
		return recogniseJSON(f, found, limits)
	default:
		line, _, _ := strings.Cut(text, "\n")
		if newListEntry(strings.TrimRight(line, " \t\r")) != nil {
			found.Kind, found.Feed = KindList, listFeed(line)
		}
	}
	return found, nil
}

// listFeed names a list of Debian by what it begins with.
func listFeed(line string) string {
	for _, kind := range []string{"DSA", "DLA", "DTSA"} {
		if strings.Contains(line, "] "+kind+"-") {
			return "Debian " + kind
		}
	}
	return "Debian CVE"
}

// recogniseJSON goes by the names of the first fields.
func recogniseJSON(r io.Reader, found Found, limits Limits) (Found, error) {
	d := json.NewDecoder(&bounded{r: bufio.NewReader(r), left: limits.Document, limit: "Document"})
	if _, err := d.Token(); err != nil {
		return Found{}, nil
	}
	fields := map[string]string{} // those that are strings, with their value
	for n := 0; d.More() && n < 50; n++ {
		t, err := d.Token()
		if err != nil {
			return Found{}, nil
		}
		name, _ := t.(string)
		var value json.RawMessage
		if n == 0 && startsTracker(d) {
			found.Kind, found.Feed = KindTracker, "Debian"
			return found, nil
		}
		if err := d.Decode(&value); err != nil {
			return Found{}, nil
		}
		fields[name] = unquote(value)
	}
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := fields[n]; return !ok })
	}
	switch {
	case has("document") && (has("product_tree") || has("vulnerabilities")):
		found.Kind = KindCSAF
	case has("catalogVersion", "vulnerabilities"):
		found.Kind, found.Feed = KindKEV, "KEV"
	case has("packages") && (has("distroversion") || has("reponame")):
		found.Kind = KindAlpine
		s := secdb{Branch: fields["distroversion"], Repository: fields["reponame"]}
		if e := s.ecosystem(); e != "" {
			found.Feed = strings.TrimSuffix(e+" "+s.Repository, " ")
		}
	case has("id", "modified"), has("id", "affected"):
		found.Kind = KindOSV
	default:
		return Found{}, nil
	}
	return found, nil
}

// startsTracker reports whether the first field holds vulnerabilities of a source
// package of Debian. It reads no further than needed from what the decoder has.
func startsTracker(d *json.Decoder) bool {
	head := make([]byte, 200)
	n, _ := io.ReadFull(io.LimitReader(d.Buffered(), int64(len(head))), head)
	text := strings.TrimLeft(string(head[:n]), ": \t\r\n{")
	return strings.HasPrefix(text, `"CVE-`) || strings.HasPrefix(text, `"TEMP-`)
}

// Records yields the advisories of a feed. A file among many that cannot be read
// as what it is, is yielded as *Refused.
func (f *Found) Records(limits Limits) iter.Seq2[Record, error] {
	limits = limits.orDefault()
	switch f.Kind {
	case KindArchive:
		return func(yield func(Record, error) bool) { archiveFile(f.Paths[0], limits, yield) }
	case KindOSV, KindCSAF:
		return f.each(limits)
	case KindAlpine:
		return document(f.Paths[0], limits, ConvertAlpine)
	case KindTracker:
		return document(f.Paths[0], limits, ConvertTracker)
	case KindList:
		return document(f.Paths[0], limits, ConvertDebianList)
	}
	return fails(dossier.Errorf(dossier.KindUnsupported, opImport, string(f.Kind), "it holds no advisories"))
}

func archiveFile(path string, limits Limits, yield func(Record, error) bool) {
	file, err := os.Open(path)
	if err != nil {
		yield(Record{}, importError(err, path))
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		yield(Record{}, importError(err, path))
		return
	}
	ReadArchive(file, info.Size(), limits)(yield)
}

// document converts one file.
func document(path string, limits Limits, convert func([]byte, Limits) iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		b, err := ReadDocument(path, limits)
		if err != nil {
			yield(Record{}, err)
			return
		}
		convert(b, limits)(yield)
	}
}

// ReadDocument reads a file of at most Limits.Document bytes.
func ReadDocument(path string, limits Limits) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, importError(err, path)
	}
	defer f.Close()
	b, err := io.ReadAll(&bounded{r: f, left: limits.orDefault().Document, limit: "Document"})
	if err != nil {
		return nil, &dossier.Error{Kind: kindOr(err, dossier.KindStorage), Op: opImport, Subject: path, Err: err}
	}
	return b, nil
}

// each yields records that lie each in a file. Of two with one ID the first
// counts, and the other is refused.
func (f *Found) each(limits Limits) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		seen := map[string]bool{}
		one := func(r Record, err error, path string) bool {
			if err == nil && seen[r.ID] {
				r, err = Record{}, &Refused{path, dossier.Errorf(dossier.KindConflict, opImport, r.ID, "there are two records with this ID")}
			}
			if err == nil {
				seen[r.ID] = true
			} else if _, ok := errors.AsType[*Refused](err); !ok {
				err = &Refused{path, err}
			}
			return yield(r, err)
		}
		for _, path := range f.Paths {
			b, err := ReadDocument(path, limits)
			if err != nil {
				yield(Record{}, err)
				return
			}
			if f.Kind == KindOSV {
				a, err := Parse(b, limits)
				if !one(Record{Advisory: a, Bytes: b}, err, path) {
					return
				}
				continue
			}
			for r, err := range ConvertCSAF(b, limits) {
				if !one(r, err, path) {
					return
				}
			}
		}
	}
}
