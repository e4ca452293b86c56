// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// The files of a feed, in the directory of its ecosystem.
const (
	archiveName = "all.zip"
	listName    = "modified_id.csv"
)

// State is what the last update of a feed left, to continue from. The zero State
// knows nothing.
type State struct {
	Archive Validators `json:"archive,omitzero"`
	List    Validators `json:"list,omitzero"`
	Newest  time.Time  `json:"newest,omitzero"` // the latest change that was read
}

// Have is what is kept of a feed.
type Have struct {
	State
	Records int // how many; 0: nothing is kept
	// Known returns how many of the IDs are kept.
	Known func(ctx context.Context, ids []string) (int, error)
}

// Update is what is new in a feed. Close must be called.
type Update struct {
	State          // to keep, when all Records were read and kept
	Unchanged bool // there is nothing to do
	Full      bool // Records are all there are; else those that are new or changed
	Size      int  // how many Records there will be; -1: not known
	Records   iter.Seq2[Record, error]
	close     func() error
}

// Close releases what the update was read from.
func (u *Update) Close() error {
	if u.close == nil {
		return nil
	}
	return u.close()
}

// Fetcher reads feeds from a bucket: in a directory for each ecosystem lie
// all.zip, modified_id.csv (time and ID of each record, the newest first) and
// each record as ID.json.
type Fetcher struct {
	Base   string       // http://, https://, file:// or a directory
	Client *http.Client // nil: http.DefaultClient
	Dir    string       // for downloads; one that was interrupted is continued the next time; empty: os.TempDir()
	Few    int          // changes that are read one by one; more are read as a whole; 200
	Limits Limits
}

// Fetch reads what is new in the feed of an ecosystem. What changed is read record
// by record when it is little and nothing was removed, else the whole archive.
//
// KindNotFound: there is no such feed. KindUnavailable: try again later; what
// came of an archive is kept. KindCorrupt: what came is not what was promised.
func (f *Fetcher) Fetch(ctx context.Context, ecosystem string, have Have) (*Update, error) {
	if !ecosystemPattern.MatchString(ecosystem) {
		return nil, dossier.Errorf(dossier.KindInvalid, opFetch, short(ecosystem), "it is no name of an ecosystem")
	}
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	b, err := parseBase(f.Base, client)
	if err != nil {
		return nil, err
	}
	limits := f.Limits.orDefault()
	if have.Records == 0 {
		have.State = State{}
	}
	state := have.State
	c, err := fetchList(ctx, b, ecosystem, have, limits)
	switch {
	case dossier.KindOf(err) == dossier.KindNotFound: // not every mirror has the list
		return f.archive(ctx, b, ecosystem, state, limits)
	case err != nil:
		return nil, err
	case c == nil:
		return &Update{State: state, Unchanged: true}, nil
	}
	state.List, state.Newest = c.Validators, c.newest
	few := f.Few
	if few <= 0 {
		few = 200
	}
	if whole, err := c.needsAll(ctx, have, few); err != nil {
		return nil, err
	} else if whole {
		state.Archive = Validators{} // even if it looks the same: something is missing here
		return f.archive(ctx, b, ecosystem, state, limits)
	}
	if len(c.ids) == 0 {
		return &Update{State: state, Unchanged: true}, nil
	}
	return &Update{State: state, Size: len(c.ids), Records: oneByOne(ctx, b, ecosystem, c.ids, limits)}, nil
}

// changes is what a list says.
type changes struct {
	Validators
	rows   int
	newest time.Time
	ids    []string // that changed since, at most maxChanges
	more   bool     // there are more
}

const maxChanges = 10_000

// needsAll reports whether a feed must be read as a whole: for the first time,
// because much changed, or because records were removed.
func (c *changes) needsAll(ctx context.Context, have Have, few int) (bool, error) {
	if have.Records == 0 || c.more || len(c.ids) > few {
		return true, nil
	}
	known := 0
	if len(c.ids) > 0 {
		var err error
		if known, err = have.Known(ctx, c.ids); err != nil {
			return false, err
		}
	}
	return c.rows != have.Records+len(c.ids)-known, nil
}

// fetchList reads the list of changes, nil when it is the one that was read
// before.
func fetchList(ctx context.Context, b base, ecosystem string, have Have, limits Limits) (*changes, error) {
	name := ecosystem + "/" + listName
	o, err := b.open(ctx, name, have.List, Validators{}, 0)
	if err != nil || o == nil {
		return nil, err
	}
	defer o.Close()
	c := &changes{Validators: o.Validators}
	fail := func(format string, args ...any) error {
		return &dossier.Error{Kind: dossier.KindCorrupt, Op: opFetch, Subject: b.where(name), Err: fmt.Errorf(format, args...)}
	}
	lines := bufio.NewScanner(&bounded{r: o, left: limits.Table, limit: "Table"})
	for lines.Scan() {
		if c.rows++; c.rows > limits.Records {
			return nil, exceeds(opFetch, b.where(name), "Records", int64(c.rows), int64(limits.Records), "lines")
		}
		at, id, err := parseChange(lines.Text())
		if err != nil {
			return nil, fail("line %d: %w", c.rows, err)
		}
		if at.After(c.newest) {
			c.newest = at
		}
		switch {
		case !at.After(have.Newest):
		case len(c.ids) >= maxChanges:
			c.more = true
		default:
			c.ids = append(c.ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, &dossier.Error{Kind: kindOr(err, dossier.KindUnavailable), Op: opFetch, Subject: b.where(name), Err: err}
	}
	if c.rows == 0 {
		return nil, fail("it is empty")
	}
	slices.Sort(c.ids)
	c.ids = slices.Compact(c.ids)
	return c, nil
}

// parseChange reads "TIME,ID".
func parseChange(line string) (time.Time, string, error) {
	when, id, ok := strings.Cut(strings.TrimRight(line, "\r"), ",")
	at, err := time.Parse(time.RFC3339Nano, when)
	if !ok || err != nil || !idPattern.MatchString(id) || len(id) > 256 {
		return time.Time{}, "", fmt.Errorf("%q is no time and ID", short(line))
	}
	return at.UTC(), id, nil
}

// oneByOne yields records that lie each in a file.
func oneByOne(ctx context.Context, b base, ecosystem string, ids []string, limits Limits) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, id := range ids {
			r, err := fetchRecord(ctx, b, ecosystem+"/"+id+".json", id, limits)
			if _, refused := errors.AsType[*Refused](err); !yield(r, err) || err != nil && !refused {
				return
			}
		}
	}
}

func fetchRecord(ctx context.Context, b base, name, id string, limits Limits) (Record, error) {
	o, err := b.open(ctx, name, Validators{}, Validators{}, 0)
	if err != nil {
		return Record{}, err
	}
	defer o.Close()
	body, err := io.ReadAll(&bounded{r: o, left: limits.Record, limit: "Record"})
	if err != nil {
		return Record{}, &dossier.Error{Kind: kindOr(err, dossier.KindUnavailable), Op: opFetch, Subject: b.where(name), Err: err}
	}
	return readRecord(b.where(name), id, body, limits)
}

// archive reads the whole feed.
func (f *Fetcher) archive(ctx context.Context, b base, ecosystem string, state State, limits Limits) (*Update, error) {
	file, validators, err := f.download(ctx, b, ecosystem+"/"+archiveName, state.Archive, limits)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return &Update{State: state, Unchanged: true}, nil
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fileError(err, file.Name()), file.Close())
	}
	state.Archive = validators
	u := &Update{State: state, Full: true, Size: -1, close: func() error {
		return errors.Join(file.Close(), f.discard(file.Name()))
	}}
	u.Records = u.noteNewest(ReadArchive(file, info.Size(), limits))
	return u, nil
}

// noteNewest yields records, and sees to it that what the list told of and the
// archive does not have yet is read the next time: the two are not made at one
// moment.
func (u *Update) noteNewest(records iter.Seq2[Record, error]) iter.Seq2[Record, error] {
	listed := u.Newest
	return func(yield func(Record, error) bool) {
		newest := time.Time{}
		for r, err := range records {
			if err == nil && r.Modified.After(newest) {
				newest = r.Modified
			}
			if !yield(r, err) {
				return
			}
		}
		if newest.Before(listed) {
			u.Newest, u.List = newest, Validators{}
		}
	}
}

func (f *Fetcher) dir() string { return cmp.Or(f.Dir, os.TempDir()) }

// discard removes a download that was read. A feed that lies on this machine
// stays.
func (f *Fetcher) discard(name string) error {
	if filepath.Dir(name) != filepath.Clean(f.dir()) || !strings.HasSuffix(name, downloaded) {
		return nil
	}
	for _, n := range []string{name, name + aside} {
		if err := os.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileError(err, n)
		}
	}
	return nil
}

// Ecosystems returns the names of the feeds that the base says it has
// (ecosystems.txt). KindNotFound: it does not say.
func (f *Fetcher) Ecosystems(ctx context.Context) ([]string, error) {
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	b, err := parseBase(f.Base, client)
	if err != nil {
		return nil, err
	}
	o, err := b.open(ctx, "ecosystems.txt", Validators{}, Validators{}, 0)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	var out []string
	lines := bufio.NewScanner(&bounded{r: o, left: 1 << 20, limit: "of 1 MiB"})
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); ecosystemPattern.MatchString(name) {
			out = append(out, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, &dossier.Error{Kind: kindOr(err, dossier.KindUnavailable), Op: opFetch, Subject: b.where("ecosystems.txt"), Err: err}
	}
	return out, nil
}
