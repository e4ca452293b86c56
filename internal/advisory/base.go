// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

const opFetch = "fetching advisories"

// Validators tell one version of a file from another.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// base is where feeds lie: a web server, or a directory. Names are paths with
// slashes in which each element was checked.
type base interface {
	// open opens a file. It returns nil when the file is still the one that the
	// validators tell of. From an offset it is opened only when it is that of
	// resume; else from the beginning. KindNotFound: there is none.
	open(ctx context.Context, name string, unless, resume Validators, offset int64) (*opened, error)
	// where says where a file is, for people.
	where(name string) string
}

// opened is a file that is being read.
type opened struct {
	io.ReadCloser
	Validators
	offset int64  // from where it is read
	size   int64  // of the whole file; -1: not told
	crc32c string // its sum in base64, as Google's storage tells; empty: not told
	local  *os.File
}

// parseBase returns where an address leads: http, https or file, or a path.
func parseBase(address string, client *http.Client) (base, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return directory(address), nil
	}
	switch scheme {
	case "file":
		u, err := url.Parse(address)
		if err != nil || u.Host != "" || u.Path == "" {
			return nil, dossier.Errorf(dossier.KindInvalid, opFetch, address, "a file address is written file:///DIRECTORY")
		}
		return directory(u.Path), nil
	case "http", "https":
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.RawQuery != "" {
			return nil, dossier.Errorf(dossier.KindInvalid, opFetch, rest, "it is no address of a directory")
		}
		return &website{u, client}, nil
	}
	return nil, &dossier.Error{
		Kind: dossier.KindInvalid, Op: opFetch, Subject: address, Err: fmt.Errorf("the scheme %q is not known", scheme),
		Hint: "use https://, http://, file:// or a directory",
	}
}

// ecosystemPattern is what the name of an ecosystem may be: it is also that of a
// directory.
var ecosystemPattern = pattern.New(`^[A-Za-z0-9][A-Za-z0-9 .:_+-]*$`)

// directory is a base on this machine.
type directory string

func (d directory) where(name string) string {
	return filepath.Join(string(d), filepath.FromSlash(name))
}

func (d directory) open(_ context.Context, name string, unless, _ Validators, _ int64) (*opened, error) {
	f, err := os.Open(d.where(name))
	if err != nil {
		return nil, fileError(err, d.where(name))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, errors.Join(fileError(err, d.where(name)), f.Close())
	}
	now := Validators{ETag: fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())}
	if now == unless {
		return nil, f.Close()
	}
	return &opened{ReadCloser: f, Validators: now, size: info.Size(), local: f}, nil
}

// fileError says what is wrong with a file.
func fileError(err error, name string) error {
	kind := dossier.KindStorage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = dossier.KindNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = dossier.KindDenied
	}
	return &dossier.Error{Kind: kind, Op: opFetch, Subject: name, Err: err}
}

// website is a base on a web server.
type website struct {
	base   *url.URL
	client *http.Client
}

func (w *website) where(name string) string {
	return w.base.JoinPath(strings.Split(name, "/")...).Redacted()
}

func (w *website) open(ctx context.Context, name string, unless, resume Validators, offset int64) (*opened, error) {
	fail := func(kind dossier.Kind, err error) error {
		return &dossier.Error{Kind: kind, Op: opFetch, Subject: w.where(name), Err: err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(strings.Split(name, "/")...).String(), nil)
	if err != nil {
		return nil, fail(dossier.KindInvalid, err)
	}
	request.Header.Set("Accept-Encoding", "identity") // sizes and offsets are those of the file
	if unless.ETag != "" {
		request.Header.Set("If-None-Match", unless.ETag)
	} else if unless.LastModified != "" {
		request.Header.Set("If-Modified-Since", unless.LastModified)
	}
	if same := resume.strong(); offset > 0 && same != "" {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		request.Header.Set("If-Range", same)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, fail(dossier.KindUnavailable, withoutURL(err))
	}
	o, err := answered(response, offset)
	if o == nil {
		err = errors.Join(err, response.Body.Close())
	}
	if err != nil {
		return nil, fail(kindOr(err, dossier.KindUnavailable), err)
	}
	return o, nil
}

// withoutURL drops the address from an error: it is the subject already.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// strong returns what may be asked for in If-Range.
func (v Validators) strong() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

// answered reads what a server answered. nil: not modified.
func answered(r *http.Response, offset int64) (*opened, error) {
	o := &opened{
		ReadCloser: r.Body, size: r.ContentLength,
		Validators: Validators{ETag: r.Header.Get("ETag"), LastModified: r.Header.Get("Last-Modified")},
	}
	for _, sum := range strings.Split(strings.Join(r.Header.Values("X-Goog-Hash"), ","), ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(sum), "crc32c="); ok {
			o.crc32c = v
		}
	}
	kind := dossier.KindUnavailable
	switch r.StatusCode {
	case http.StatusOK:
		return o, nil
	case http.StatusNotModified:
		return nil, nil
	case http.StatusPartialContent:
		from, size, ok := contentRange(r.Header.Get("Content-Range"))
		if ok && from == offset {
			o.offset, o.size = from, size
			return o, nil
		}
		return nil, fmt.Errorf("the server sent another part than the one from byte %d", offset)
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, errNoMore
	case http.StatusNotFound, http.StatusGone:
		kind = dossier.KindNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = dossier.KindDenied
	}
	return nil, &dossier.Error{Kind: kind, Err: fmt.Errorf("the server answered %s", r.Status)}
}

// errNoMore says that a file has no bytes from the offset on.
var errNoMore = errors.New("the server has no such part")

// contentRange reads "bytes FROM-TO/SIZE".
func contentRange(s string) (from, size int64, ok bool) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, _, ok3 := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil || from < 0 {
		return 0, 0, false
	}
	if total == "*" {
		return from, -1, true
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return from, size, err == nil && size >= from
}
