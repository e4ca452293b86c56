// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"dossier.dev/dossier"
)

func v1DigestOf(d dossier.Digest) digest.Digest { return digest.Digest(d) }

// Counts is what a registry was asked for since it began.
type Counts struct {
	Requests int `json:"requests"` // all, whatever the answer was
	Tags     int `json:"tags"`     // manifests by tag
	Digests  int `json:"digests"`  // manifests by digest
	Blobs    int `json:"blobs"`
	Missing  int `json:"missing"` // answered with 404
	MaxOpen  int `json:"maxOpen"` // requests at one time
}

// Sub returns what was asked for after an earlier count. MaxOpen stays as it is.
func (c Counts) Sub(before Counts) Counts {
	return Counts{
		Requests: c.Requests - before.Requests, Tags: c.Tags - before.Tags, Digests: c.Digests - before.Digests,
		Blobs: c.Blobs - before.Blobs, Missing: c.Missing - before.Missing, MaxOpen: c.MaxOpen,
	}
}

// CountsPath is where a registry tells its Counts, as JSON and without delay.
const CountsPath = "/counts"

// Registry serves images over the OCI distribution protocol, for reading.
type Registry struct {
	Images *Images
	Delay  time.Duration // before each answer

	mu     sync.Mutex
	counts Counts
	open   int
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == CountsPath {
		r.mu.Lock()
		defer r.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.counts) // the client sees that it broke off
		return
	}
	r.change(func(c *Counts) {
		c.Requests++
		r.open++
		c.MaxOpen = max(c.MaxOpen, r.open)
	})
	defer r.change(func(*Counts) { r.open-- })
	time.Sleep(r.Delay)
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if path == "" {
		return
	}
	if name, ok := strings.CutSuffix(path, "/tags/list"); ok {
		r.list(w, name)
		return
	}
	if name, ref, ok := strings.Cut(path, "/manifests/"); ok {
		r.manifest(w, req, name, ref)
		return
	}
	if _, ref, ok := strings.Cut(path, "/blobs/"); ok {
		r.change(func(c *Counts) { c.Blobs++ })
		r.send(w, req, dossier.Digest(ref), false)
		return
	}
	r.missing(w, "UNSUPPORTED")
}

func (r *Registry) manifest(w http.ResponseWriter, req *http.Request, name, ref string) {
	if d, err := dossier.ParseDigest(ref); err == nil {
		r.change(func(c *Counts) { c.Digests++ })
		r.send(w, req, d, true)
		return
	}
	r.change(func(c *Counts) { c.Tags++ })
	r.send(w, req, r.Images.tags[name+":"+ref], true)
}

// list answers with all tags of a repository.
func (r *Registry) list(w http.ResponseWriter, name string) {
	tags := []string{}
	for tag := range r.Images.tags {
		if repository, tag, _ := strings.Cut(tag, ":"); repository == name {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": tags}) // the client sees that it broke off
}

// send answers with the bytes of a digest.
func (r *Registry) send(w http.ResponseWriter, req *http.Request, d dossier.Digest, manifest bool) {
	c, ok := r.Images.content[d]
	switch {
	case !ok || manifest != (c.mediaType != ""):
		r.missing(w, "MANIFEST_UNKNOWN")
		return
	case manifest:
		w.Header().Set("Content-Type", c.mediaType)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	w.Header().Set("Docker-Content-Digest", string(d))
	w.Header().Set("Content-Length", strconv.Itoa(len(c.bytes)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(c.bytes) // the client sees that it broke off
	}
}

func (r *Registry) missing(w http.ResponseWriter, code string) {
	r.change(func(c *Counts) { c.Missing++ })
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `"}]}`)) // as above
}

func (r *Registry) change(f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.counts)
}
