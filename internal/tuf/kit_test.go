// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/store/sqlstore"
)

const (
	testRegistry = "registry.example"
	testPrefix   = "team/web"
	testSource   = testRegistry + "/" + testPrefix
)

// clock is a time that only a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now().UTC().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// owner is somebody with a key.
type owner struct {
	Signer
	public []byte
}

func newOwner(t testing.TB) owner {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return owner{s, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
}

func openStore(t testing.TB, now func() time.Time) store.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "dossier.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// world is a registry with metadata, its owners, and somebody who verifies.
type world struct {
	testing.TB
	*clock
	store    store.Store // of the registry
	repo     *Repository
	ceremony Ceremony
	root     []owner // two of three must sign
	targets  owner
	release  owner // of the role release, which speaks for team/web/app
	web      *web
	client   store.Store // of who verifies
}

// web is a repository as clients reach it, with what an attacker puts in its place.
type web struct {
	url     string
	handler http.Handler
	mu      sync.Mutex
	changed map[string][]byte // by name; nil: 404
	asked   []string
	down    bool
}

// ServeHTTP implements http.Handler.
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[len(Path+testPrefix+"/"):]
	w.mu.Lock()
	body, is := w.changed[name]
	down := w.down
	w.asked = append(w.asked, name)
	w.mu.Unlock()
	switch {
	case down:
		http.Error(rw, "down", http.StatusBadGateway)
	case is && body == nil:
		http.NotFound(rw, r)
	case is:
		_, _ = rw.Write(body)
	default:
		w.handler.ServeHTTP(rw, r)
	}
}

// serve returns the URL under which clients reach it.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + Path + testPrefix
}

func (w *web) replace(name string, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed[name] = body
}

func (w *web) restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed, w.down, w.asked = map[string][]byte{}, false, nil
}

// newWorld makes a registry whose owners have signed root and targets. release signs team/web/app,
// the server the rest.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, clock: newClock(), targets: newOwner(t), release: newOwner(t)}
	for range 3 {
		w.root = append(w.root, newOwner(t))
	}
	w.store, w.client = openStore(t, w.now), openStore(t, w.now)
	var err error
	w.repo, err = NewRepository(Config{Store: w.store, Registry: testRegistry, Prefixes: []string{testPrefix}, Now: w.now})
	w.must(err)
	w.must(w.store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.NameRegistry(t.Context(), testRegistry)
		return err
	}))
	w.web = &web{handler: &Handler{Repository: w.repo}, changed: map[string][]byte{}}
	w.web.url = serve(t, w.web)
	w.ceremony = Ceremony{Dir: filepath.Join(t.TempDir(), "ceremony"), Now: w.now}
	w.initCeremony(w.onlineKey())
	w.sign(Root, w.root[0], w.root[1])
	w.sign(Targets, w.targets)
	w.publish()
	return w
}

// initCeremony makes the first root and targets, which nobody has signed yet.
func (w *world) initCeremony(online []byte) {
	w.Helper()
	w.must(w.ceremony.Init(Init{
		Prefix: testPrefix, RootKeys: [][]byte{w.root[0].public, w.root[1].public, w.root[2].public}, RootThreshold: 2,
		TargetsKeys: [][]byte{w.targets.public}, TargetsThreshold: 1, OnlineKey: online,
	}))
	w.must(w.ceremony.Delegate(Delegation{Role: Online, Repositories: []string{testPrefix + "/**"}}))
	w.must(w.ceremony.Delegate(Delegation{Role: "release", Repositories: []string{testPrefix + "/app"}, Keys: [][]byte{w.release.public}}))
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) onlineKey() []byte {
	w.Helper()
	s, err := w.repo.OnlineKey(w.Context(), testPrefix)
	w.must(err)
	text, err := PublicPEM(s.Key)
	w.must(err)
	return text
}

func (w *world) sign(role string, owners ...owner) {
	w.Helper()
	for _, o := range owners {
		_, err := w.ceremony.Sign(role, o.Signer)
		w.must(err)
	}
}

func (w *world) publish() {
	w.Helper()
	w.must(w.tryPublish())
}

func (w *world) tryPublish() error {
	w.Helper()
	p, missing, err := w.ceremony.Publication()
	w.must(err)
	if len(missing) > 0 {
		w.Fatalf("not signed by enough: %+v", missing)
	}
	return w.repo.Publish(w.Context(), testPrefix, p)
}

// push points a tag at a manifest of that text, and returns its digest.
func (w *world) push(repository, tag, text string) dossier.Digest {
	w.Helper()
	d, err := pushTo(w.Context(), w.store, repository, tag, text, w.now())
	w.must(err)
	return d
}

func pushTo(ctx context.Context, s store.Store, repository, tag, text string, at time.Time) (dossier.Digest, error) {
	body := fmt.Appendf(nil, `{"schemaVersion":2,"text":%q}`, text)
	d := dossier.FromBytes(body)
	return d, s.Update(ctx, func(tx store.Tx) error {
		repo, err := tx.PutRepository(ctx, repository, at)
		if err != nil {
			return err
		}
		_, err = tx.PutManifest(ctx, store.Manifest{Repository: repository, Digest: d, MediaType: "application/vnd.oci.image.manifest.v1+json",
			Size: int64(len(body)), Body: body, PushedAt: dossier.Instant(at)}, nil)
		if err != nil {
			return err
		}
		_, err = tx.SetTag(ctx, store.NameTag{Name: repo.Name, Tag: tag}, d, dossier.Instant(at), false)
		return err
	})
}

// step lets the server sign until there is nothing left.
func (w *world) step() {
	w.Helper()
	for {
		n, err := w.repo.Step(w.Context())
		w.must(err)
		if n == 0 {
			return
		}
	}
}

// release1 signs that team/web/app:tag means a digest, by its owner.
func (w *world) releaseTag(tag string, d dossier.Digest, length int64) {
	w.Helper()
	w.must(w.ceremony.AddTarget("release", testPrefix+"/app:"+tag, d, length))
	w.sign("release", w.release)
	w.publish()
}

func (w *world) rootFile(version int64) []byte {
	w.Helper()
	body, err := w.ceremony.file(fileOfRoot(version), Root)
	w.must(err)
	return body
}

func (w *world) verifier() Verifier {
	return Verifier{Store: w.client, Now: w.now, Source: HTTP{URL: w.web.url, Client: http.DefaultClient}, dropped: os.Getenv(droppedEnv)}
}

// ask verifies team/web/NAME:TAG with the root pinned.
func (w *world) ask(name, tag string, d dossier.Digest, more ...func(*Request)) Result {
	w.Helper()
	q := Request{Source: testSource, Repository: testPrefix + "/" + name, Tag: tag, Digest: d, Root: w.rootFile(1)}
	for _, f := range more {
		f(&q)
	}
	r, err := w.verifier().Verify(w.Context(), q)
	w.must(err)
	return r
}

func (w *world) good(r Result) {
	w.Helper()
	if !r.Verified || r.Reason != "" {
		w.Fatalf("not verified: %s: %s", r.Reason, r.Why)
	}
}

func (w *world) bad(r Result, want Reason) {
	w.Helper()
	if r.Verified || r.Reason != want {
		w.Fatalf("verified is %t, reason %q (%s), want %q", r.Verified, r.Reason, r.Why, want)
	}
}

// file returns what the registry publishes now.
func (w *world) file(role string) store.TUFFile {
	w.Helper()
	var f store.TUFFile
	w.must(w.store.View(w.Context(), func(r store.Reader) (err error) {
		f, err = r.TUFFile(w.Context(), testPrefix, role, 0)
		return err
	}))
	return f
}

// stolen returns the online key, as who has the server has it.
func (w *world) stolen() Signer {
	w.Helper()
	s, err := w.repo.OnlineKey(w.Context(), testPrefix)
	w.must(err)
	return s
}

// forge changes a published file, signs it with keys, and serves it.
func forge[T metadata.Roles](w *world, role, name string, f func(*metadata.Metadata[T]), signers ...Signer) store.TUFFile {
	w.Helper()
	m, err := parse[T](role, w.file(role).Body)
	w.must(err)
	f(m)
	file, err := sign(role, m, signers...)
	w.must(err)
	if name == "" {
		name = fmt.Sprintf("%d.%s.json", file.Version, role)
	}
	w.web.replace(name, file.Body)
	return file
}

func trustedOf(w *world) map[string]store.TUFFile {
	w.Helper()
	var list []store.TUFFile
	w.must(w.client.View(context.Background(), func(r store.Reader) (err error) {
		list, err = r.TUFTrusted(context.Background(), testSource)
		return err
	}))
	return byRole(list)
}
