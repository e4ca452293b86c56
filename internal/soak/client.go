// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// client has two repositories of its own, and remembers what is there.
type client struct {
	*run
	name   string
	random *rand.Rand
	layers [][]byte // that it has pushed somewhere, to push them again
	loose  []loose  // that it has uploaded and not used yet
	count  int

	mu     sync.Mutex
	images []*image // that have a tag
}

// image is a manifest or an index that is to be there.
type image struct {
	repository string
	tag        string
	digest     dossier.Digest
	manifest   []byte
	mediaType  string
	blobs      []dossier.Digest
	children   []*image // of an index
	parents    int      // indexes that need it
	referrers  []dossier.Digest
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	maxImages    = 60 // of a client: it deletes one when there are more
	maxLayers    = 40
	maxLoose     = 20
)

func newClient(r *run, i int) *client {
	return &client{run: r, name: fmt.Sprint("client", i), random: rand.New(rand.NewPCG(r.Seed, uint64(i)))}
}

// loose is a blob that no manifest needs. It goes when its lease has ended, and
// stays when somebody asks for it before.
type loose struct {
	repository string
	bytes      []byte
	use        time.Time // about when its lease ends
}

// act does one thing.
func (c *client) act(ctx context.Context) {
	n := c.random.IntN(100)
	switch {
	case len(c.loose) > 0 && time.Now().After(c.loose[0].use):
		c.useLoose(ctx)
	case len(c.loose) < maxLoose:
		c.pushLoose(ctx)
	case len(c.images) < 5 || n < 30 && len(c.images) < maxImages:
		c.pushImage(ctx)
	case n < 55:
		c.pull(ctx)
	case n < 63:
		c.retag(ctx)
	case n < 73:
		c.refer(ctx)
	case n < 78:
		c.pushIndex(ctx)
	default:
		c.remove(ctx)
	}
}

// repository returns one of its two.
func (c *client) repository() string { return fmt.Sprintf("soak/%s-%d", c.name, c.random.IntN(2)) }

// own returns an image of its own. There is one.
func (c *client) own() *image { return c.images[c.random.IntN(len(c.images))] }

// layer returns a layer that it has pushed before, or a new one.
func (c *client) layer() []byte {
	if len(c.layers) > 0 && c.random.IntN(2) == 0 {
		return c.layers[c.random.IntN(len(c.layers))]
	}
	b := c.newLayer()
	if c.layers = append(c.layers, b); len(c.layers) > maxLayers {
		c.layers = c.layers[1:]
	}
	return b
}

func (c *client) newLayer() []byte {
	b := make([]byte, 1+c.random.IntN(16<<10))
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}

// next returns a name that it has not used yet.
func (c *client) next() string {
	c.count++
	return fmt.Sprintf("%s-%d", c.name, c.count)
}

// part is an entry of a manifest.
type part struct {
	MediaType string         `json:"mediaType"`
	Digest    dossier.Digest `json:"digest"`
	Size      int            `json:"size"`
}

// compose returns a manifest of parts that it has pushed, which took its time.
func (c *client) compose(ctx context.Context, repository string, more map[string]any, layers ...[]byte) (im *image, ok bool) {
	im = &image{repository: repository, mediaType: manifestType}
	bodies := [][]byte{[]byte(`{"author":"` + c.next() + `"}`)}
	bodies = append(bodies, layers...)
	for range 1 + c.random.IntN(3) {
		bodies = append(bodies, c.layer())
	}
	var parts []part
	for _, b := range bodies {
		d := dossier.FromBytes(b)
		if !c.pushBlob(ctx, repository, d, b) {
			return nil, false
		}
		if !slices.Contains(im.blobs, d) {
			im.blobs = append(im.blobs, d)
		}
		parts = append(parts, part{"application/octet-stream", d, len(b)})
	}
	c.dawdle()
	parts[0].MediaType = "application/vnd.oci.image.config.v1+json"
	doc := map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": parts[0], "layers": parts[1:]}
	for k, v := range more {
		doc[k] = v
	}
	im.manifest, _ = json.Marshal(doc) // strings and numbers: cannot fail
	im.digest = dossier.FromBytes(im.manifest)
	return im, true
}

// dawdle now and then takes so long that garbage is collected meanwhile, some times.
func (c *client) dawdle() {
	if c.random.IntN(6) == 0 {
		time.Sleep(time.Duration(c.random.Int64N(int64(c.Dawdle))))
	}
}

// pushBlob pushes a blob as clients do: not if it is there, from another repository
// if that has it, else whole or in two chunks.
func (c *client) pushBlob(ctx context.Context, repository string, d dossier.Digest, b []byte) bool {
	began, base := time.Now(), "/v2/"+repository+"/blobs/"
	a := c.do(ctx, http.MethodHead, base+string(d), nil, "")
	if a.status == http.StatusOK {
		c.did("blob was there", 0)
		return true
	}
	if !c.want(began, a, "looking for a blob", http.StatusNotFound) {
		return false
	}
	query := ""
	if c.random.IntN(2) == 0 {
		query = "?mount=" + string(d)
		if c.random.IntN(2) == 0 {
			query += "&from=" + c.repository()
		}
	}
	a = c.do(ctx, http.MethodPost, base+"uploads/"+query, nil, "")
	if a.status == http.StatusCreated && query != "" {
		c.did("mount", 0)
		return true
	}
	if !c.want(began, a, "beginning an upload", http.StatusAccepted) {
		return false
	}
	location, rest := a.location, b
	if c.random.IntN(2) == 0 && len(b) > 1 {
		if a = c.do(ctx, http.MethodPatch, location, b[:len(b)/2], ""); !c.want(began, a, "a chunk", http.StatusAccepted) {
			return false
		}
		location, rest = a.location, b[len(b)/2:]
	}
	a = c.do(ctx, http.MethodPut, location+"?digest="+string(d), rest, "")
	if c.want(began, a, "ending an upload", http.StatusCreated) {
		c.did("upload", len(b))
		return true
	}
	return false
}

// putManifest puts the manifest of an image under a reference.
func (c *client) putManifest(ctx context.Context, began time.Time, im *image, reference, what string) bool {
	a := c.do(ctx, http.MethodPut, "/v2/"+im.repository+"/manifests/"+reference, im.manifest, im.mediaType)
	if !c.want(began, a, what, http.StatusCreated) {
		return false
	}
	c.did(what, len(im.manifest))
	return true
}

func (c *client) pushImage(ctx context.Context) { c.pushWith(ctx, c.repository()) }

// pushLoose uploads a blob, to use it when its lease is about to end, or has.
func (c *client) pushLoose(ctx context.Context) {
	b := loose{repository: c.repository(), bytes: c.newLayer()}
	if c.pushBlob(ctx, b.repository, dossier.FromBytes(b.bytes), b.bytes) {
		b.use = time.Now().Add(Lease*4/5 + time.Duration(c.random.Int64N(int64(Lease/4))))
		c.loose = append(c.loose, b)
	}
}

// useLoose pushes an image that has a blob which was there for some time.
func (c *client) useLoose(ctx context.Context) {
	b := c.loose[0]
	c.loose = c.loose[1:]
	c.did("old blob", 0)
	c.pushWith(ctx, b.repository, b.bytes)
}

func (c *client) pushWith(ctx context.Context, repository string, layers ...[]byte) {
	began := time.Now()
	if im, ok := c.compose(ctx, repository, nil, layers...); ok {
		im.tag = c.next()
		if c.putManifest(ctx, began, im, im.tag, "push") {
			c.add(im)
		}
	}
}

// pushIndex pushes an index of images of its own.
func (c *client) pushIndex(ctx context.Context) {
	began, first := time.Now(), c.own()
	im := &image{repository: first.repository, tag: c.next(), mediaType: indexType}
	var parts []part
	for _, child := range c.images {
		if child.repository == first.repository && len(child.children) == 0 && len(parts) < 2 {
			im.children = append(im.children, child)
			parts = append(parts, part{child.mediaType, child.digest, len(child.manifest)})
		}
	}
	im.manifest, _ = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": indexType, "manifests": parts, "annotations": map[string]string{"tag": im.tag},
	})
	im.digest = dossier.FromBytes(im.manifest)
	if len(parts) > 0 && c.putManifest(ctx, began, im, im.tag, "push index") {
		for _, child := range im.children {
			child.parents++
		}
		c.add(im)
	}
}

// retag points a tag that moves at an image. Sometimes an image that was never told of
// loses its only tag by that.
func (c *client) retag(ctx context.Context) {
	began := time.Now()
	if c.random.IntN(2) == 0 {
		if im, ok := c.compose(ctx, c.repository(), nil); ok {
			c.putManifest(ctx, began, im, "latest", "push over a tag")
		}
		return
	}
	c.putManifest(ctx, began, c.own(), "latest", "retag")
}

// refer pushes an artifact that refers to an image, and looks whether it is listed.
func (c *client) refer(ctx context.Context) {
	began, subject := time.Now(), c.own()
	im, ok := c.compose(ctx, subject.repository, map[string]any{
		"artifactType": "application/vnd.soak", "subject": part{subject.mediaType, subject.digest, len(subject.manifest)},
	})
	if ok && c.putManifest(ctx, began, im, string(im.digest), "refer") {
		subject.referrers = append(subject.referrers, im.digest)
		c.listReferrers(ctx, subject)
	}
}

func (c *client) listReferrers(ctx context.Context, subject *image) {
	began := time.Now()
	a := c.do(ctx, http.MethodGet, "/v2/"+subject.repository+"/referrers/"+string(subject.digest), nil, "")
	if !c.want(began, a, "listing referrers", http.StatusOK) {
		return
	}
	for _, d := range subject.referrers {
		if !strings.Contains(string(a.body), string(d)) {
			c.fail(time.Now(), "%s: %s is not among the referrers of %s", subject.repository, d, subject.digest)
		}
	}
}

// remove deletes an image, or only its tag: then it goes by itself.
func (c *client) remove(ctx context.Context) {
	began, im := time.Now(), c.own()
	if im.parents > 0 {
		return
	}
	c.mu.Lock()
	c.images = slices.DeleteFunc(c.images, func(other *image) bool { return other == im })
	c.mu.Unlock()
	for _, child := range im.children {
		child.parents--
	}
	what, reference := "delete", string(im.digest)
	if len(im.children) == 0 && c.random.IntN(2) == 0 { // an index that is left holds its images
		what, reference = "delete tag", im.tag
	}
	a := c.do(ctx, http.MethodDelete, "/v2/"+im.repository+"/manifests/"+reference, nil, "")
	if c.want(began, a, what, http.StatusAccepted) {
		c.did(what, 0)
	}
}

// pull pulls an image of its own, which is there, or of somebody else.
func (c *client) pull(ctx context.Context) {
	owner, im := c.run.random(c.random)
	if im != nil {
		c.pullOne(ctx, im, owner == c)
	}
}

// pullOne pulls an image by its tag. When it must not be there any more only its manifest may be gone: who
// got that gets the rest.
func (c *client) pullOne(ctx context.Context, im *image, must bool) {
	began, base := time.Now(), "/v2/"+im.repository
	reference := im.tag
	if c.random.IntN(2) == 0 {
		reference = string(im.digest)
	}
	a := c.do(ctx, http.MethodGet, base+"/manifests/"+reference, nil, "")
	if a.status == http.StatusNotFound && !must {
		c.did("pull of what was deleted", 0)
		return
	}
	if must {
		began = time.Now() // it has a tag, whatever time it takes
	}
	if !c.want(began, a, "pulling "+reference+" from "+im.repository, http.StatusOK) {
		return
	}
	if !bytes.Equal(a.body, im.manifest) {
		c.fail(began, "%s: %s is another manifest", im.repository, reference)
	}
	if !must {
		c.dawdle()
	}
	for _, d := range im.blobs {
		b := c.do(ctx, http.MethodGet, base+"/blobs/"+string(d), nil, "")
		if must {
			began = time.Now()
		}
		if c.want(began, b, "pulling the blob "+string(d)+" of "+im.repository, http.StatusOK) && !d.Matches(b.body) {
			c.fail(time.Now(), "%s: blob %s has other bytes", im.repository, d)
		}
	}
	for _, child := range im.children {
		if must {
			c.pullOne(ctx, child, true)
		}
	}
	c.did("pull", 0)
}

// verify pulls all that is to be there.
func (c *client) verify(ctx context.Context) {
	for _, im := range c.images {
		c.pullOne(ctx, im, true)
		c.listReferrers(ctx, im)
		for _, d := range im.referrers {
			a := c.do(ctx, http.MethodGet, "/v2/"+im.repository+"/manifests/"+string(d), nil, "")
			c.want(time.Now(), a, "pulling a referrer", http.StatusOK)
		}
	}
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	c.report.Kept += len(c.images)
}

func (c *client) add(im *image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images = append(c.images, im)
}

// answer is a response.
type answer struct {
	status   int
	location string
	body     []byte
	err      error
	host     string
}

// do sends a request to any of the replicas.
func (c *client) do(ctx context.Context, method, path string, body []byte, contentType string) answer {
	a := answer{host: c.Hosts[c.random.IntN(len(c.Hosts))]}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.host+path, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer resp.Body.Close()
	a.status, a.location = resp.StatusCode, resp.Header.Get("Location")
	a.body, a.err = io.ReadAll(resp.Body)
	return a
}

// want notes a failure when an answer has another status.
func (c *client) want(began time.Time, a answer, what string, status int) bool {
	if a.err == nil && a.status == status {
		return true
	}
	c.fail(began, "%s, by %s, at %s, %s after it began: %d, want %d: %v %.300s", what, c.name, a.host, time.Since(began).Round(time.Millisecond), a.status, status, a.err, a.body)
	return false
}
