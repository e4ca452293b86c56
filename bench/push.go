// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// client pushes and pulls as clients of registries do, without TLS and login.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}}

// noise is what large blobs are made of.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
})

// blob is bytes that no other blob has: a number, and noise over and over.
type blob struct {
	number  uint64
	size    int64
	digest  string
	content []byte // other bytes; nil: those
}

// blobOf makes a blob of given bytes.
func blobOf(b []byte) blob { return blob{size: int64(len(b)), digest: digestOf(b), content: b} }

// newBlob makes a blob and computes its digest, so that to push it costs the client
// no more than to send it.
func newBlob(number uint64, size int64) blob {
	b := blob{number: number, size: size}
	h := sha256.New()
	_, _ = io.Copy(h, b.reader()) // a hash takes everything
	b.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return b
}

func (b blob) reader() io.Reader {
	if b.content != nil {
		return bytes.NewReader(b.content)
	}
	readers := []io.Reader{bytes.NewReader(binary.BigEndian.AppendUint64(nil, b.number))}
	for left := b.size - 8; left > 0; left -= int64(len(noise())) {
		readers = append(readers, bytes.NewReader(noise()[:min(left, int64(len(noise())))]))
	}
	return io.MultiReader(readers...)
}

// do sends a request and drops what comes, of which it wants a number of bytes when
// that is not negative.
func do(ctx context.Context, method, url string, body io.Reader, size int64, mediaType string, want int) (*http.Response, int64, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, 0, err
	}
	if body != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", mediaType)
	}
	r.Header.Set("Accept", manifestType)
	resp, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return resp, n, err
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	bytesType    = "application/octet-stream"
)

// pushBlob pushes as docker, containerd and crane do: it asks whether the blob is there,
// begins an upload, sends all of it in one PATCH, and ends it.
func pushBlob(ctx context.Context, base, repository string, b blob) error {
	top := base + "/v2/" + repository + "/blobs/"
	if _, _, err := do(ctx, http.MethodHead, top+b.digest, nil, 0, "", http.StatusNotFound); err != nil {
		return err
	}
	resp, _, err := do(ctx, http.MethodPost, top+"uploads/", nil, 0, "", http.StatusAccepted)
	if err != nil {
		return err
	}
	to, err := location(base, resp)
	if err != nil {
		return err
	}
	if resp, _, err = do(ctx, http.MethodPatch, to.String(), b.reader(), b.size, bytesType, http.StatusAccepted); err != nil {
		return err
	}
	if to, err = location(base, resp); err != nil {
		return err
	}
	query := to.Query()
	query.Set("digest", b.digest)
	to.RawQuery = query.Encode()
	_, _, err = do(ctx, http.MethodPut, to.String(), nil, 0, "", http.StatusCreated)
	return err
}

func location(base string, resp *http.Response) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return u.Parse(resp.Header.Get("Location"))
}

// pullBlob pulls a blob and checks its size.
func pullBlob(ctx context.Context, url string, size int64) error {
	_, n, err := do(ctx, http.MethodGet, url, nil, 0, "", http.StatusOK)
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes, want %d", url, n, size)
	}
	return err
}

// pushImage pushes a small image: a configuration, a layer of 4 kB, and a manifest
// under a tag.
func pushImage(ctx context.Context, base, repository, tag string, number uint64) error {
	layer := newBlob(number, 4000)
	config := blobOf(fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Labels":{"number":"%d"}},"rootfs":{"type":"layers","diff_ids":[%q]}}`, number, layer.digest))
	for _, b := range []blob{config, layer} {
		if err := pushBlob(ctx, base, repository, b); err != nil {
			return err
		}
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, manifestType, config.digest, config.size, layer.digest, layer.size)
	_, _, err := do(ctx, http.MethodPut, base+"/v2/"+repository+"/manifests/"+tag, bytes.NewReader(manifest), int64(len(manifest)), manifestType, http.StatusCreated)
	return err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// clients has n clients call f with the numbers below count, each number once.
func clients(n, count int, f func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, n)
	var group sync.WaitGroup
	for c := range n {
		group.Go(func() {
			for errs[c] == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				errs[c] = f(i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// clientsFor has n clients call f for a while, and returns how many calls were made.
func clientsFor(n int, d time.Duration, f func(i int) error) (int, error) {
	end := time.Now().Add(d)
	var calls atomic.Int64
	errs := make([]error, n)
	var group sync.WaitGroup
	for c := range n {
		group.Go(func() {
			for errs[c] == nil && time.Now().Before(end) {
				errs[c] = f(int(calls.Add(1)) - 1)
			}
		})
	}
	group.Wait()
	return int(calls.Load()), errors.Join(errs...)
}
