// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
)

// served is a real dossier serve that publishes metadata, and is killed and started again.
type served struct {
	*testing.T
	program, data, config string

	process *exec.Cmd
	url     string // now
}

var listening = regexp.MustCompile(`listening on (http://\S+)`)

// newServed builds the program, and does not start it.
func newServed(t *testing.T) *served {
	t.Helper()
	dir := t.TempDir()
	s := &served{T: t, program: filepath.Join(dir, "dossier"), data: filepath.Join(dir, "data"), config: filepath.Join(dir, "dossier.yaml")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.program, "./cmd/dossier")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building dossier: %v\n%s", err, out)
	}
	text := fmt.Sprintf("registry:\n  name: %s\n  tuf: {prefixes: [%s], life: 1h, every: 20ms}\n", testRegistry, testPrefix)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts the server, and waits until it listens.
func (s *served) start() {
	s.Helper()
	s.process = exec.CommandContext(s.Context(), s.program, "serve", "--no-cluster", "--offline", "--listen", "127.0.0.1:0", "--data", s.data, "--config", s.config)
	s.process.Env = append(os.Environ(), "HOME="+filepath.Dir(s.data), "XDG_DATA_HOME=", "DOSSIER_SERVER=", "DOSSIER_TOKEN=")
	stderr, err := s.process.StderrPipe()
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.kill)
	lines := bufio.NewScanner(stderr)
	var said []string
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return
		}
		said = append(said, lines.Text())
	}
	s.Fatalf("the server does not listen:\n%s", strings.Join(said, "\n"))
}

func (s *served) kill() {
	_ = s.process.Process.Signal(syscall.SIGKILL)
	_ = s.process.Wait() // it was killed
}

// send sends a request, and returns an error unless it is answered as wanted.
func (s *served) send(ctx context.Context, method, path, mediaType string, body []byte, want int) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %s %.300s", method, path, resp.Status, answer)
	}
	return answer, err
}

// push pushes an image that has nothing but a configuration.
func (s *served) push(ctx context.Context, tag string) (dossier.Digest, error) {
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"author":%q}`, tag)
	d := dossier.FromBytes(config)
	repo := "/v2/" + testPrefix + "/site"
	if _, err := s.send(ctx, http.MethodPost, repo+"/blobs/uploads/?digest="+string(d), "application/octet-stream", config, http.StatusCreated); err != nil {
		return "", err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`,
		manifestType, d, len(config))
	_, err := s.send(ctx, http.MethodPut, repo+"/manifests/"+tag, manifestType, manifest, http.StatusCreated)
	return dossier.FromBytes(manifest), err
}

// publish publishes what owners have signed.
func (s *served) publish(ctx context.Context, w *world) error {
	p, _, err := w.ceremony.Publication()
	if err != nil {
		return err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = s.send(ctx, http.MethodPost, Path+testPrefix, "application/json", body, http.StatusOK)
	return err
}

// TestServed kills a real dossier serve at random while it signs pushes, renews every 20 ms, takes what an owner publishes and
// has its key replaced. go-tuf's client and ours look on all the time, and remember: neither ever sees a version go
// back or files that do not fit, and in the end all that was acknowledged is signed.
func TestServed(t *testing.T) {
	s := newServed(t)
	s.start()
	w := &world{TB: t, clock: newClock(), targets: newOwner(t), release: newOwner(t), root: []owner{newOwner(t), newOwner(t), newOwner(t)}, client: openStore(t, nil)}
	w.ceremony = Ceremony{Dir: filepath.Join(t.TempDir(), "ceremony"), Now: time.Now}
	online, err := s.send(t.Context(), http.MethodGet, Path+testPrefix+"/online.pub", "", nil, http.StatusOK)
	w.must(err)
	w.initCeremony(online)
	w.sign(Root, w.root[0], w.root[1])
	w.sign(Targets, w.targets)
	w.must(s.publish(t.Context(), w))
	seen := &onlookers{served: s, world: w, stock: stock{TB: t, dir: t.TempDir(), root: w.rootFile(1)}, pushed: map[string]dossier.Digest{}}
	const rounds = 6
	random := rand.New(rand.NewPCG(3, 3))
	for round := range rounds {
		if round > 0 {
			s.start()
		}
		seen.untilKilled(round, time.Duration(random.IntN(300))*time.Millisecond)
	}
	s.start()
	w.must(s.publish(t.Context(), w))
	if len(seen.pushed) < rounds || seen.rotated < rounds/2 {
		t.Errorf("%d pushes and %d rotations: the test does too little", len(seen.pushed), seen.rotated)
	}
	seen.check()
	t.Logf("%d pushes, %d tags of the owner, %d rotations, %d looks", len(seen.pushed), seen.released, seen.rotated, seen.looks)
}

// onlookers use a server, and remember what was acknowledged.
type onlookers struct {
	*served
	*world
	stock stock

	mu       sync.Mutex
	pushed   map[string]dossier.Digest // by tag
	released int                       // tags app:1 to app:N that were acknowledged
	rotated  int
	looks    int
}

// untilKilled uses the server until it is killed, a while after the first push was acknowledged.
func (o *onlookers) untilKilled(round int, after time.Duration) {
	ctx := o.served.Context()
	var group sync.WaitGroup
	began := make(chan struct{}, 1)
	for _, use := range []func(n int) error{
		func(n int) error {
			tag := fmt.Sprintf("t%d-%d", round, n)
			d, err := o.served.push(ctx, tag)
			if err != nil {
				return err
			}
			o.mu.Lock()
			o.pushed[tag] = d
			o.mu.Unlock()
			if n == 3 {
				began <- struct{}{}
			}
			return nil
		},
		func(n int) error { return o.own(ctx, n) },
		func(int) error { return o.look() },
	} {
		group.Go(func() {
			for n := 0; use(n) == nil; n++ {
			}
		})
	}
	select {
	case <-began:
	case <-time.After(20 * time.Second): // fewer pushes than rounds: the test says so
	}
	time.Sleep(after)
	o.kill()
	group.Wait()
}

// own is what an owner does: he replaces the online key at first, and then signs one tag after the other.
func (o *onlookers) own(ctx context.Context, n int) error {
	if n == 0 {
		key, err := o.send(ctx, http.MethodPost, Path+testPrefix+"/online.pub", "application/json", []byte("{}"), http.StatusCreated)
		if err != nil {
			return err
		}
		_, err = o.ceremony.ChangeKeys(KeyChange{Role: Online, Add: key})
		o.must(err)
		o.sign(Root, o.root[0], o.root[1])
		o.sign(Targets, o.targets)
		if err := o.served.publish(ctx, o.world); err != nil {
			return err
		}
		o.rotated++
		return nil
	}
	o.must(o.ceremony.AddTarget("release", fmt.Sprintf("%s/app:%d", testPrefix, o.released+1), dossier.FromBytes(fmt.Append(nil, o.released+1)), 1))
	o.sign("release", o.release)
	if err := o.served.publish(ctx, o.world); err != nil {
		return err
	}
	o.released++
	return nil
}

// look updates both clients. That the server is away is no fault.
func (o *onlookers) look() error {
	o.stock.url = o.served.url + Path + testPrefix
	o.looks++
	_, err := o.stock.client()
	if errors.Is(err, &metadata.ErrUnsignedMetadata{}) { // a key was replaced since it had looked for roots: it begins anew
		_, err = o.stock.client()
	}
	if err != nil {
		for _, fault := range []error{&metadata.ErrBadVersionNumber{}, &metadata.ErrEqualVersionNumber{}, &metadata.ErrUnsignedMetadata{},
			&metadata.ErrLengthOrHashMismatch{}, &metadata.ErrRepository{}, &metadata.ErrExpiredMetadata{}} {
			if errors.Is(err, fault) {
				o.served.Errorf("go-tuf's client: %v", err)
			}
		}
		return err
	}
	r := o.verify("site", "none", "")
	if r.Reason != ReasonUnknown && r.Reason != ReasonUnreachable {
		o.served.Errorf("our verifier: %s: %s", r.Reason, r.Why)
	}
	return nil
}

func (o *onlookers) verify(name, tag string, d dossier.Digest) Result {
	v := Verifier{Store: o.client, Now: time.Now, Source: HTTP{URL: o.served.url + Path + testPrefix, Client: http.DefaultClient}}
	r, err := v.Verify(o.served.Context(), Request{Source: testSource, Repository: testPrefix + "/" + name, Tag: tag, Digest: d, Root: o.stock.root})
	o.must(err)
	return r
}

// check waits until all that was acknowledged is signed, as both clients see it.
func (o *onlookers) check() {
	o.stock.url = o.served.url + Path + testPrefix
	for tag, d := range o.pushed {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			r := o.verify("site", tag, d)
			if r.Verified && r.SignedBy == ByOnline {
				break
			}
			if time.Now().After(end) {
				o.served.Fatalf("site:%s was pushed and is not signed: %s: %s", tag, r.Reason, r.Why)
			}
		}
	}
	u, err := o.stock.client()
	o.must(err)
	for tag, d := range o.pushed {
		info, err := u.GetTargetInfo(testPrefix + "/site:" + tag)
		o.must(err)
		_, body, err := u.DownloadTarget(info, "", "")
		if err != nil || !d.Matches(body) {
			o.served.Errorf("go-tuf's client reads %d bytes of site:%s: %v", len(body), tag, err)
		}
	}
	for n := 1; n <= o.released; n++ {
		want := dossier.FromBytes(fmt.Append(nil, n))
		if info, err := u.GetTargetInfo(fmt.Sprintf("%s/app:%d", testPrefix, n)); err != nil || info.Hashes[want.Algorithm()].String() != want.Hex() {
			o.served.Errorf("app:%d was published, and is %+v, %v", n, info, err)
		}
		o.good(o.verify("app", fmt.Sprint(n), want))
	}
}
