// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
	"dossier.dev/dossier/internal/store"
)

// Path is where a Handler serves the metadata of all prefixes.
const Path = "/tuf/"

// MaxPublication is how many bytes a publication has at most.
const MaxPublication = 16 << 20

// onlineKeyFile is the name under which the online key is served.
const onlineKeyFile = "online.pub"

var (
	versionedFile = pattern.New(`^([1-9][0-9]{0,17})\.([a-z0-9][a-z0-9_-]{0,63})\.json$`)
	targetFile    = pattern.New(`^([0-9a-f]{64}|[0-9a-f]{128})\.(.+)$`)
)

// Handler serves the metadata of a Repository below Path (docs/spec/tuf.md): GET reads, POST
// publishes. Whoever may do which is for who calls it to decide.
type Handler struct {
	Repository *Repository
	Logger     *slog.Logger // nil: silent
}

// answer is what a request gets.
type answer struct {
	body      []byte
	mediaType string
	etag      string
	forever   bool // under that name there is never anything else
	status    int  // 0: 200
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, Path)
	prefix, file := h.split(rest)
	var a answer
	err := error(errNoFile)
	switch {
	case !ok || prefix == "":
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		a, err = h.read(r.Context(), prefix, file)
	case r.Method == http.MethodPost && file == "":
		a, err = h.publish(w, r, prefix)
	case r.Method == http.MethodPost && file == onlineKeyFile:
		a, err = h.newKey(r, prefix)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		err = dossier.Errorf(dossier.KindUnsupported, "reading the request", r.URL.Path, "this resource does not have that method")
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.mediaType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	if a.forever {
		header.Set("Cache-Control", "max-age=31536000, immutable")
	}
	if a.etag != "" {
		header.Set("ETag", `"`+a.etag+`"`)
		if r.Header.Get("If-None-Match") == `"`+a.etag+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(a.body) // a client that has left is no news
}

var errNoFile = dossier.Errorf(dossier.KindNotFound, "reading metadata", "", "there is no such file")

// split finds the prefix that a path begins with. Prefixes do not lie below one another.
func (h *Handler) split(rest string) (prefix, file string) {
	for _, p := range h.Repository.config.Prefixes {
		if rest == p {
			return p, ""
		}
		if after, ok := strings.CutPrefix(rest, p+"/"); ok {
			return p, after
		}
	}
	return "", ""
}

// read returns a file.
func (h *Handler) read(ctx context.Context, prefix, file string) (answer, error) {
	if name, ok := strings.CutPrefix(file, "targets/"); ok {
		return h.target(ctx, prefix, name)
	}
	if file == onlineKeyFile {
		return h.onlineKey(ctx, prefix)
	}
	a := answer{mediaType: "application/json"}
	role, version := "", int64(0)
	switch m := versionedFile.FindStringSubmatch(file); {
	case m != nil:
		role, a.forever = m[2], true
		version, _ = strconv.ParseInt(m[1], 10, 64) // at most 18 digits
	case file == Timestamp+".json" || file == Root+".json":
		role = strings.TrimSuffix(file, ".json")
	default:
		return answer{}, errNoFile
	}
	err := h.Repository.config.Store.View(ctx, func(r store.Reader) error {
		f, err := r.TUFFile(ctx, prefix, role, version)
		a.body, a.etag = f.Body, fmt.Sprintf("%d.%s", f.Version, role)
		return err
	})
	if err == nil { // or another version of that number might be signed after a power cut
		err = h.Repository.config.Store.Settle(ctx)
	}
	return a, err
}

// target returns the manifest that a target stands for, under the name that clients
// ask for with consistent snapshots: DIR/HASH.NAME.
func (h *Handler) target(ctx context.Context, prefix, name string) (answer, error) {
	dir, base := path.Split(name)
	m := targetFile.FindStringSubmatch(base)
	if m == nil {
		return answer{}, errNoFile
	}
	repository, _, err := ParseTarget(dir + m[2])
	if err != nil || !below(prefix, repository) {
		return answer{}, errNoFile
	}
	algorithm := dossier.SHA256
	if len(m[1]) > 64 {
		algorithm = dossier.SHA512
	}
	a := answer{forever: true, etag: m[1]}
	err = h.Repository.config.Store.View(ctx, func(r store.Reader) error {
		found, err := r.Manifest(ctx, repository, dossier.Digest(algorithm+":"+m[1]))
		a.body, a.mediaType = found.Body, found.MediaType
		return err
	})
	return a, err
}

func (h *Handler) onlineKey(ctx context.Context, prefix string) (answer, error) {
	s, err := h.Repository.OnlineKey(ctx, prefix)
	if err != nil {
		return answer{}, err
	}
	body, err := PublicPEM(s.Key)
	return answer{body: body, mediaType: "application/x-pem-file"}, err
}

// newKey makes a further online key.
func (h *Handler) newKey(r *http.Request, prefix string) (answer, error) {
	if err := checkJSON(r); err != nil { // no form of another site can send it
		return answer{}, err
	}
	s, err := h.Repository.NewOnlineKey(r.Context(), prefix)
	if err != nil {
		return answer{}, err
	}
	body, err := PublicPEM(s.Key)
	return answer{body: body, mediaType: "application/x-pem-file", status: http.StatusCreated}, err
}

func checkJSON(r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return dossier.Errorf(dossier.KindInvalid, "reading the request", "Content-Type", "want application/json")
	}
	return nil
}

// publish takes a publication.
func (h *Handler) publish(w http.ResponseWriter, r *http.Request, prefix string) (answer, error) {
	const op = "reading the publication"
	if err := checkJSON(r); err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPublication))
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return answer{}, dossier.Errorf(dossier.KindLimit, op, prefix, fmt.Sprintf("it has more than %d bytes", large.Limit))
	}
	if err != nil {
		return answer{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: prefix, Err: err}
	}
	var p Publication
	if err := json.Unmarshal(body, &p); err != nil {
		return answer{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: prefix, Err: err}
	}
	if err := h.Repository.Publish(r.Context(), prefix, p); err != nil {
		return answer{}, err
	}
	return answer{body: []byte("{}\n"), mediaType: "application/json"}, nil
}

// statusOf is what each kind of error is over HTTP.
func statusOf(kind dossier.Kind) int {
	switch kind {
	case dossier.KindNotFound:
		return http.StatusNotFound
	case dossier.KindInvalid:
		return http.StatusBadRequest
	case dossier.KindLimit:
		return http.StatusRequestEntityTooLarge
	case dossier.KindDenied:
		return http.StatusForbidden
	case dossier.KindConflict:
		return http.StatusConflict
	case dossier.KindUnsupported:
		return http.StatusMethodNotAllowed
	}
	return http.StatusServiceUnavailable
}

// refuse writes an error as the API does.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, problem := statusOf(dossier.KindOf(err)), dossier.ProblemOf(err)
	if status == http.StatusServiceUnavailable {
		problem = dossier.Problem{Kind: dossier.KindUnavailable, Message: "the store does not answer", Hint: "try again later"}
		w.Header().Set("Retry-After", "5")
		if h.Logger != nil && r.Context().Err() == nil {
			h.Logger.ErrorContext(r.Context(), "metadata could not be served", "path", r.URL.Path, "error", err)
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem) // a client that has left is no news
}
