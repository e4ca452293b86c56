// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/registry"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

// seedsEnv is how many interleavings are tried on SQLite, when it is not a few.
const seedsEnv = "DOSSIER_CARE_SEEDS"

// TestInterleavings lets clients push, mount, look, tag, refer, delete and pull
// while two collectors take away what nothing needs, all one transaction at a
// time in an order that a seed decides. Nothing that was acknowledged is lost, no
// push fails, no manifest lacks a child, and in the end nothing is left over.
func TestInterleavings(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			seeds := 6
			if engine.name != "SQLite" {
				seeds = 2
			}
			if n, err := strconv.Atoi(os.Getenv(seedsEnv)); err == nil && engine.name == "SQLite" {
				seeds = n
			}
			for seed := range seeds {
				for name, policy := range map[string]config.Care{"no rules": {}, "no tag, no stay": untagged()} {
					t.Run(fmt.Sprintf("%d %s", seed, name), func(t *testing.T) {
						interleave(t, engine.config(t), uint64(seed), policy, seed%2 == 1)
					})
				}
			}
		})
	}
}

// play is one interleaving.
type play struct {
	*world
	*stage
	handler *registry.Handler
	rules   bool
	clients int       // that go on
	leaps   int       // how often so much time has passed that no lease lasts
	all     []*pushed // by whomever, there or not
	pushes  int
	taken   int
}

const (
	actions = 20 // of a client
	lease   = 24 * time.Hour
)

func interleave(t *testing.T, c sqlstore.Config, seed uint64, policy config.Care, rows bool) {
	p := &play{
		world: newWorldOn(t, c, func(w *world) { w.rows = rows }), stage: newStage(seed), rules: len(policy.Retention) > 0,
		clients: 4,
	}
	staged, blobs := stagedStore{p.store, p.stage}, stagedBlobs{p.files, p.stage}
	var err error
	p.handler, err = registry.New(t.Context(), registry.Config{Store: staged, Blobs: blobs, Name: host, Now: p.clock, Lease: lease, MaxSmall: p.maxSmall()})
	if err != nil {
		t.Fatal(err)
	}
	policy.Delay = 2 * time.Hour // longer than any request here takes
	for i := range p.clients {
		random := rand.New(rand.NewPCG(seed, uint64(i+1)))
		p.enter(t.Context(), fmt.Sprint("client ", i), func(ctx context.Context) {
			(&customer{play: p, random: random, name: fmt.Sprint("client ", i)}).act(ctx)
		})
	}
	for i := range 2 {
		gc, err := care.New(care.Config{Store: staged, Blobs: blobs, Policy: policy, Now: p.clock})
		if err != nil {
			t.Fatal(err)
		}
		p.enter(t.Context(), fmt.Sprint("collector ", i), func(ctx context.Context) {
			for p.clients > 0 {
				got, err := gc.Collect(ctx)
				if err != nil {
					t.Errorf("collecting: %v", err)
				}
				p.taken += len(got.Items)
				p.step(ctx)
			}
		})
	}
	p.run(p.tick)
	if p.pushes == 0 || p.taken == 0 {
		t.Errorf("%d pushes, %d things collected: the test does too little", p.pushes, p.taken)
	}
	t.Logf("%d steps, %d pushes, %d things collected meanwhile", p.steps, p.pushes, p.taken)
	p.checkWhole()
	p.pass(100 * lease)
	for range 3 {
		p.collect(policy)
		p.pass(100 * lease)
	}
	p.checkNothingLeft(policy)
}

// tick lets time pass: a little, or so much that no lease lasts. Who relies on one
// then has lost, and may fail. All wait meanwhile.
func (p *play) tick() {
	switch p.stage.random.IntN(40) {
	case 0:
		p.pass(lease + time.Duration(p.stage.random.Int64N(int64(lease))))
		p.leaps++
	case 1, 2:
		p.pass(lease / 500)
	}
}

// customer is a client with a mind of its own.
type customer struct {
	*play
	random *rand.Rand
	name   string
	images []*pushed
	began  int // leaps when it began what it does
}

// pushed is an image that was acknowledged.
type pushed struct {
	repository, tag string
	manifest        []byte
	parts           []dossier.Digest // of blobs
}

func (p *pushed) digest() dossier.Digest { return dossier.FromBytes(p.manifest) }

func (c *customer) act(ctx context.Context) {
	defer func() { c.clients-- }()
	for n := range actions {
		c.began = c.leaps
		switch what := c.random.IntN(12); {
		case what < 4 || len(c.images) == 0:
			c.push(ctx, n)
		case what == 4:
			c.retag(ctx, n)
		case what == 5:
			c.refer(ctx, n)
		case what == 6:
			c.index(ctx, n)
		case what == 7:
			c.abandon(ctx, n)
		case what < 10:
			c.remove(ctx)
		case what == 10:
			c.peek(ctx)
		default:
			c.pull(ctx)
		}
		c.step(ctx)
	}
}

func (c *customer) repository() string { return string(rune('a' + c.random.IntN(3))) }

func (c *customer) one() *pushed { return c.images[c.random.IntN(len(c.images))] }

// request sends a request within the process, so that it acts in ctx.
func (c *customer) request(ctx context.Context, method, path string, body []byte, contentType string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

// expect checks a status. Whoever relied on a lease that has ended may be told so.
func (c *customer) expect(what string, w *httptest.ResponseRecorder, status int) bool {
	late := c.began != c.leaps && w.Code == http.StatusNotFound
	if w.Code != status && !late {
		c.t.Errorf("%s, step %d: %s: %d %s, want %d", c.name, c.steps, what, w.Code, w.Body, status)
	}
	return w.Code == status
}

// upload makes a repository hold a blob as clients do: it asks, mounts, or sends.
func (c *customer) upload(ctx context.Context, repository string, b []byte) dossier.Digest {
	d := dossier.FromBytes(b)
	base := "/v2/" + repository + "/blobs/"
	if c.random.IntN(4) > 0 {
		if w := c.request(ctx, http.MethodHead, base+string(d), nil, ""); w.Code == http.StatusOK {
			return d
		}
	}
	location := base + "uploads/"
	query := "?digest=" + string(d)
	if c.random.IntN(2) == 0 {
		from := ""
		if c.random.IntN(2) == 0 {
			from = "&from=" + c.repository()
		}
		w := c.request(ctx, http.MethodPost, location+"?mount="+string(d)+from, nil, "")
		if w.Code == http.StatusCreated {
			return d
		}
		if !c.expect("mount", w, http.StatusAccepted) {
			return d
		}
		w = c.request(ctx, http.MethodPut, w.Header().Get("Location")+query, b, "application/octet-stream")
		c.expect("upload", w, http.StatusCreated)
		return d
	}
	c.expect("upload", c.request(ctx, http.MethodPost, location+query, b, "application/octet-stream"), http.StatusCreated)
	return d
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

// abandon uploads what comes to nothing, or takes it back.
func (c *customer) abandon(ctx context.Context, n int) {
	repository := c.repository()
	if c.random.IntN(2) == 0 {
		c.upload(ctx, repository, []byte(fmt.Sprint("layer ", c.random.IntN(5))))
		return
	}
	d := c.upload(ctx, repository, []byte(fmt.Sprint("of ", c.name, " ", n)))
	c.expect("deleting a blob", c.request(ctx, http.MethodDelete, "/v2/"+repository+"/blobs/"+string(d), nil, ""), http.StatusAccepted)
}

// put puts a manifest and remembers it when it is acknowledged.
func (c *customer) put(ctx context.Context, p *pushed, reference, mediaType string) bool {
	w := c.request(ctx, http.MethodPut, "/v2/"+p.repository+"/manifests/"+reference, p.manifest, mediaType)
	if !c.expect("push", w, http.StatusCreated) {
		return false
	}
	c.pushes++
	c.all = append(c.all, p)
	return true
}

// push pushes an image of its own, whose layers others push, too.
func (c *customer) push(ctx context.Context, n int) {
	p := &pushed{repository: c.repository(), tag: fmt.Sprintf("%s-%d", strings.ReplaceAll(c.name, " ", ""), n)}
	configuration := c.upload(ctx, p.repository, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":%q}`, p.tag))
	p.parts = append(p.parts, configuration)
	var layers []string
	for _, i := range c.random.Perm(4)[:1+c.random.IntN(3)] {
		b := []byte(fmt.Sprint("layer ", i))
		d := c.upload(ctx, p.repository, b)
		p.parts = append(p.parts, d)
		layers = append(layers, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}`, d, len(b)))
	}
	p.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":9},"layers":[%s]}`,
		manifestType, configuration, strings.Join(layers, ","))
	if c.put(ctx, p, p.tag, manifestType) {
		c.images = append(c.images, p)
	}
}

// retag pushes an image that is there under another tag, or the same again, and
// may delete the old one. What goes by no tag a rule may have taken.
func (c *customer) retag(ctx context.Context, n int) {
	p := c.one()
	old := p.tag
	if old == "" && c.rules {
		return
	}
	tag := fmt.Sprintf("%s-again%d", strings.ReplaceAll(c.name, " ", ""), n)
	if !c.put(ctx, p, tag, manifestTypeOf(p.manifest)) {
		return
	}
	p.tag = tag
	if old != "" && c.random.IntN(2) == 0 {
		c.expect("deleting a tag", c.request(ctx, http.MethodDelete, "/v2/"+p.repository+"/manifests/"+old, nil, ""), http.StatusAccepted)
	}
}

func manifestTypeOf(b []byte) string {
	if strings.Contains(string(b[:min(100, len(b))]), indexType) {
		return indexType
	}
	return manifestType
}

// refer pushes what refers to an image of its own.
func (c *customer) refer(ctx context.Context, n int) {
	subject := c.one()
	p := &pushed{repository: subject.repository}
	empty := c.upload(ctx, p.repository, []byte("{}"))
	p.parts = []dossier.Digest{empty}
	p.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"x/y","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"n":"%s %d"}}`,
		manifestType, empty, manifestType, subject.digest(), len(subject.manifest), c.name, n)
	c.put(ctx, p, string(p.digest()), manifestType)
}

// index pushes an index of an image that is there.
func (c *customer) index(ctx context.Context, n int) {
	child := c.one()
	if child.tag == "" || manifestTypeOf(child.manifest) == indexType {
		return
	}
	w := c.request(ctx, http.MethodHead, "/v2/"+child.repository+"/manifests/"+string(child.digest()), nil, "")
	if !c.expect("looking at a manifest", w, http.StatusOK) {
		return
	}
	p := &pushed{repository: child.repository, tag: fmt.Sprintf("%s-index%d", strings.ReplaceAll(c.name, " ", ""), n)}
	p.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}],"annotations":{"n":%q}}`,
		indexType, manifestType, child.digest(), len(child.manifest), p.tag)
	if c.put(ctx, p, p.tag, indexType) {
		c.images = append(c.images, p)
	}
}

// remove deletes an image of its own, by digest, or only its tag.
func (c *customer) remove(ctx context.Context) {
	i := c.random.IntN(len(c.images))
	p := c.images[i]
	if p.tag != "" && c.random.IntN(2) == 0 {
		c.expect("deleting a tag", c.request(ctx, http.MethodDelete, "/v2/"+p.repository+"/manifests/"+p.tag, nil, ""), http.StatusAccepted)
		p.tag = ""
		if c.rules {
			c.images = append(c.images[:i], c.images[i+1:]...)
		}
		return
	}
	w := c.request(ctx, http.MethodDelete, "/v2/"+p.repository+"/manifests/"+string(p.digest()), nil, "")
	if w.Code == http.StatusConflict { // an index lists it
		return
	}
	if c.expect("deleting", w, http.StatusAccepted) {
		c.images = append(c.images[:i], c.images[i+1:]...)
	}
}

// peek pulls parts of an image of anybody, which may go meanwhile: whole, or not
// at all.
func (c *customer) peek(ctx context.Context) {
	p := c.all[c.random.IntN(len(c.all))]
	for _, d := range p.parts {
		w := c.request(ctx, http.MethodGet, "/v2/"+p.repository+"/blobs/"+string(d), nil, "")
		if w.Code == http.StatusNotFound && strings.Contains(w.Body.String(), string(registry.CodeBlobUnknown)) {
			continue
		}
		if w.Code != http.StatusOK || dossier.FromBytes(w.Body.Bytes()) != d {
			c.t.Errorf("%s, step %d: looking at %s: %d %.200s", c.name, c.steps, d.Short(), w.Code, w.Body)
		}
	}
}

// pull pulls an image of its own, whole.
func (c *customer) pull(ctx context.Context) {
	p := c.one()
	reference := p.tag
	if reference == "" {
		reference = string(p.digest())
	}
	w := c.request(ctx, http.MethodGet, "/v2/"+p.repository+"/manifests/"+reference, nil, "")
	if !c.expect("pulling "+reference, w, http.StatusOK) {
		return
	}
	if !bytes.Equal(w.Body.Bytes(), p.manifest) {
		c.t.Errorf("%s: %s is another manifest", c.name, reference)
	}
	for _, d := range p.parts {
		w := c.request(ctx, http.MethodGet, "/v2/"+p.repository+"/blobs/"+string(d), nil, "")
		if c.expect("pulling "+d.Short(), w, http.StatusOK) && dossier.FromBytes(w.Body.Bytes()) != d {
			c.t.Errorf("%s: %s has other bytes", c.name, d)
		}
	}
}

// checkWhole checks that every manifest has all that it needs, bit for bit.
func (w *world) checkWhole() {
	w.t.Helper()
	ctx := w.t.Context()
	for _, m := range w.manifests() {
		var parts struct {
			Config    struct{ Digest dossier.Digest }
			Layers    []struct{ Digest dossier.Digest }
			Manifests []struct{ Digest dossier.Digest }
		}
		if err := json.Unmarshal(m.Body, &parts); err != nil {
			w.t.Fatal(err)
		}
		needs := []dossier.Digest{m.Digest}
		if parts.Config.Digest != "" {
			needs = append(needs, parts.Config.Digest)
		}
		for _, l := range append(parts.Layers, parts.Manifests...) {
			needs = append(needs, l.Digest)
		}
		for _, d := range needs {
			if !w.there(m.Repository, d) {
				w.t.Errorf("manifest %s in %s lacks %s", m.Digest.Short(), m.Repository, d.Short())
			}
		}
	}
	for _, g := range w.garbage(ctx) {
		err := w.store.View(ctx, func(r store.Reader) error {
			b, err := r.Blob(ctx, g.Digest)
			if err == nil && b.Key == g.Key {
				w.t.Errorf("the bytes of %s are condemned", g.Digest.Short())
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// manifests returns all manifests.
func (w *world) manifests() []store.Manifest {
	w.t.Helper()
	ctx := w.t.Context()
	var all []store.Manifest
	err := w.store.View(ctx, func(r store.Reader) error {
		all = nil
		repos, err := r.Repositories(ctx, "", 1000)
		if err != nil {
			return err
		}
		images, err := r.ListImages(ctx, "", 100_000)
		if err != nil {
			return err
		}
		for _, repo := range repos {
			for _, i := range images {
				m, err := r.Manifest(ctx, repo.Path, i.Digest)
				if err == nil {
					all = append(all, m)
				} else if dossier.KindOf(err) != dossier.KindNotFound {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) garbage(ctx context.Context) []store.Garbage {
	w.t.Helper()
	var list []store.Garbage
	err := w.store.View(ctx, func(r store.Reader) (err error) {
		list, err = r.Garbage(ctx, w.clock().Add(time.Hour), 100_000)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// checkNothingLeft checks that after a long time, and some collections, what is
// there is needed, and nothing lies under a key that no row names.
func (w *world) checkNothingLeft(policy config.Care) {
	w.t.Helper()
	if got := w.collect(policy); len(got.Items) > 0 || len(w.garbage(w.t.Context())) > 0 {
		w.t.Errorf("still to collect: %q, %d keys", items(got), len(w.garbage(w.t.Context())))
	}
	keys := w.keys()
	var named map[string]bool
	err := w.store.View(w.t.Context(), func(r store.Reader) (err error) {
		named, err = r.KeysNamed(w.t.Context(), keys)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(named) != len(keys) {
		w.t.Errorf("bytes lie under %d keys, rows name %d of them", len(keys), len(named))
	}
	w.checkWhole()
}
