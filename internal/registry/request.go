// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// Kind says what a request wants. The numbers are those of the specification's
// table of endpoints.
type Kind int

// The kinds of request.
const (
	KindPing           Kind = iota // end-1
	KindBlobGet                    // end-2; HEAD too
	KindManifestGet                // end-3; HEAD too
	KindUploadBegin                // end-4a, 4b, 4c, 11
	KindUploadChunk                // end-5
	KindUploadEnd                  // end-6
	KindManifestPut                // end-7
	KindTagList                    // end-8
	KindManifestDelete             // end-9
	KindBlobDelete                 // end-10
	KindReferrers                  // end-12
	KindUploadStatus               // end-13
	KindUploadCancel               // end-14
	KindCatalog
)

// String returns the kind as one word, for logs and metrics.
func (k Kind) String() string {
	return [...]string{
		"ping", "blob-get", "manifest-get", "upload-begin", "upload-chunk", "upload-end", "manifest-put", "tag-list",
		"manifest-delete", "blob-delete", "referrers", "upload-status", "upload-cancel", "catalog",
	}[k]
}

// Request is a request as it was parsed: every field of it is well-formed.
type Request struct {
	Kind       Kind
	Repository string         // path
	Digest     dossier.Digest // of a blob, a manifest, or a subject
	Tag        string         // of a manifest, when it does not go by its digest
	Upload     string         // ID

	Namespace    string         // registry that the client's reference names, when that is told; see route
	Mount        dossier.Digest // a blob to take from elsewhere
	From         string         // path of the repository to take it from; empty: any
	Algorithm    string         // that an upload's digest will have; empty: not said
	Tags         []string       // to point at a manifest that goes by its digest
	ArtifactType string         // filter
	Last         string         // page after this
	N            int            // length of a page; -1: not said
}

// Limits of requests.
const (
	maxRepository = 255 // characters of a path
	maxTags       = 100 // that one push sets
	maxQuery      = 16 << 10
	maxFilter     = 255 // characters of an artifact type
	maxNamespace  = 255 // characters of the name of a registry
)

var (
	repositoryPattern = pattern.New(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = pattern.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	namespacePattern  = pattern.New(fmt.Sprintf(`^[a-zA-Z0-9._:\[\]-]{0,%d}$`, maxNamespace))
	uploadPattern     = pattern.New(`^[A-Z2-7]{26}$`) // as crypto/rand.Text makes them
)

// Parse reads method and URL. Its errors have a Code: what is no endpoint is
// CodeNotFound, a method that an endpoint does not have CodeUnsupported.
func Parse(method string, u *url.URL) (Request, error) {
	path := u.Path
	if path == "/v2" {
		path = "/v2/"
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return Request{}, fault(CodeNotFound, "there is no such path")
	}
	if len(u.RawQuery) > maxQuery {
		return Request{}, fault(CodeTooManyTags, "the query has more than %d bytes", maxQuery)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Request{}, fault(CodeNameInvalid, "the query is malformed")
	}
	read := method == http.MethodGet || method == http.MethodHead
	switch rest {
	case "":
		return choose(read, Request{Kind: KindPing}, nil)
	case "_catalog":
		q := Request{Kind: KindCatalog}
		return choose(read, q, q.page(query))
	}
	q, err := parseEndpoint(method, strings.Split(rest, "/"), query)
	if q.Namespace = query.Get("ns"); err == nil && !namespacePattern.MatchString(q.Namespace) {
		err = fault(CodeNameInvalid, "ns is no name of a registry")
	}
	if err != nil {
		return Request{}, err
	}
	return q, nil
}

// choose returns a request when its method is one that the endpoint has.
func choose(has bool, q Request, err error) (Request, error) {
	if !has {
		return Request{}, fault(CodeUnsupported, "this resource does not have that method")
	}
	return q, err
}

// parseEndpoint reads a path from its end: a repository may have the name of an
// endpoint.
func parseEndpoint(method string, parts []string, query url.Values) (Request, error) {
	at := func(i int) string { // counted from the end
		if i > len(parts) {
			return ""
		}
		return parts[len(parts)-i]
	}
	var q Request
	var parse func(*Request, string, string, url.Values) error
	n := 2 // elements that are not of the repository
	switch {
	case at(2) == "tags" && at(1) == "list":
		parse = parseTagList
	case at(3) == "blobs" && at(2) == "uploads":
		n, parse = 3, parseUpload
	case at(2) == "blobs" && at(1) == "uploads":
		parts, n, parse = append(parts, ""), 3, parseUpload
	case at(2) == "blobs":
		parse = parseBlob
	case at(2) == "manifests":
		parse = parseManifest
	case at(2) == "referrers":
		parse = parseReferrers
	}
	if parse == nil || len(parts) <= n {
		return q, fault(CodeNotFound, "there is no such path")
	}
	q.Repository = strings.Join(parts[:len(parts)-n], "/")
	if err := CheckRepository(q.Repository); err != nil {
		return Request{}, err
	}
	if err := parse(&q, method, at(1), query); err != nil {
		return Request{}, err
	}
	return q, nil
}

// CheckRepository reports whether a path can be that of a repository.
func CheckRepository(path string) error {
	if len(path) > maxRepository || !repositoryPattern.MatchString(path) {
		return fault(CodeNameInvalid, "the name of the repository is malformed, or has more than %d characters", maxRepository)
	}
	return nil
}

var errMethod = fault(CodeUnsupported, "this resource does not have that method")

func parseTagList(q *Request, method, _ string, query url.Values) error {
	q.Kind = KindTagList
	if method != http.MethodGet && method != http.MethodHead {
		return errMethod
	}
	return q.page(query)
}

func parseReferrers(q *Request, method, digest string, query url.Values) (err error) {
	q.Kind = KindReferrers
	if method != http.MethodGet && method != http.MethodHead {
		return errMethod
	}
	if q.ArtifactType = query.Get("artifactType"); len(q.ArtifactType) > maxFilter {
		return fault(CodeNameInvalid, "an artifact type has at most %d characters", maxFilter)
	}
	if q.Digest, err = parseDigest(digest); err != nil {
		return err
	}
	return q.page(query)
}

func parseBlob(q *Request, method, digest string, _ url.Values) (err error) {
	switch method {
	case http.MethodGet, http.MethodHead:
		q.Kind = KindBlobGet
	case http.MethodDelete:
		q.Kind = KindBlobDelete
	default:
		return errMethod
	}
	q.Digest, err = parseDigest(digest)
	return err
}

func parseManifest(q *Request, method, reference string, query url.Values) (err error) {
	switch method {
	case http.MethodGet, http.MethodHead:
		q.Kind = KindManifestGet
	case http.MethodPut:
		q.Kind = KindManifestPut
	case http.MethodDelete:
		q.Kind = KindManifestDelete
	default:
		return errMethod
	}
	if !strings.Contains(reference, ":") {
		q.Tag = reference
		return checkTag(reference)
	}
	if q.Digest, err = parseDigest(reference); err != nil || q.Kind != KindManifestPut {
		return err
	}
	if q.Tags = query["tag"]; len(q.Tags) > maxTags {
		return fault(CodeTooManyTags, "one push sets at most %d tags", maxTags)
	}
	for _, tag := range q.Tags {
		if err := checkTag(tag); err != nil {
			return err
		}
	}
	return nil
}

func checkTag(tag string) error {
	if !tagPattern.MatchString(tag) {
		return fault(CodeTagInvalid, "a tag is up to 128 letters, digits, '_', '.' or '-', and starts with none of the last two")
	}
	return nil
}

// parseUpload reads requests to begin an upload, whose ID is then empty, or to
// go on with one.
func parseUpload(q *Request, method, id string, query url.Values) (err error) {
	if id == "" {
		return parseBegin(q, method, query)
	}
	switch method {
	case http.MethodGet, http.MethodHead:
		q.Kind = KindUploadStatus
	case http.MethodPatch:
		q.Kind = KindUploadChunk
	case http.MethodDelete:
		q.Kind = KindUploadCancel
	case http.MethodPut:
		q.Kind = KindUploadEnd
		if q.Digest, err = parseDigest(query.Get("digest")); err != nil {
			return err
		}
	default:
		return errMethod
	}
	if q.Upload = id; !uploadPattern.MatchString(id) {
		return fault(CodeUploadUnknown, "there is no such upload")
	}
	return nil
}

func parseBegin(q *Request, method string, query url.Values) (err error) {
	q.Kind = KindUploadBegin
	if method != http.MethodPost {
		return errMethod
	}
	if s := query.Get("mount"); s != "" {
		if q.Mount, err = parseDigest(s); err != nil {
			return err
		}
		if q.From = query.Get("from"); q.From != "" {
			if err := CheckRepository(q.From); err != nil {
				return err
			}
		}
	}
	if s := query.Get("digest"); s != "" {
		if q.Digest, err = parseDigest(s); err != nil {
			return err
		}
	}
	switch q.Algorithm = query.Get("digest-algorithm"); q.Algorithm {
	case "", dossier.SHA256, dossier.SHA512:
		return nil
	}
	return fault(CodeDigestInvalid, "the algorithm must be sha256 or sha512")
}

func parseDigest(s string) (dossier.Digest, error) {
	d, err := dossier.ParseDigest(s)
	if err != nil {
		return "", &Error{Code: CodeDigestInvalid, Err: err}
	}
	return d, nil
}

// page reads the parameters of a list.
func (q *Request) page(query url.Values) error {
	q.Last, q.N = query.Get("last"), -1
	if len(q.Last) > maxRepository || strings.ContainsFunc(q.Last, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return fault(CodePaginationInvalid, "last is no name")
	}
	s := query.Get("n")
	if s == "" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return fault(CodePaginationInvalid, "n must be a number that is not negative")
	}
	q.N = n
	return nil
}
