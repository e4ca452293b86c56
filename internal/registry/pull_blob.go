// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/registry/upstream"
	"dossier.dev/dossier/internal/store"
)

// pullBlob serves a blob of a mirror. One that is not kept is sent while it is
// downloaded.
func (c *call) pullBlob(ctx context.Context) error {
	const attempts = 3 // what was found to be there may be collected at that moment
	for range attempts {
		b, err := c.keptBlob(ctx)
		switch {
		case err == nil:
			err = c.sendBlob(ctx, b)
			if dossier.KindOf(err) == dossier.KindNotFound && !c.mirror.Offline() {
				break // its upstream still has it whole
			}
			c.served(err, fromKept)
			return err
		case dossier.KindOf(err) != dossier.KindNotFound:
			return err
		case c.mirror.Offline():
			return c.config.Store.View(ctx, func(r store.Reader) error { return c.explain(ctx, r, c.offline(CodeBlobUnknown)) })
		}
		err = c.fetchBlob(ctx)
		if errors.Is(err, upstream.ErrThere) {
			continue
		}
		if c.served(err, fromFetched); err != nil {
			return c.upstreamFault(err, CodeBlobUnknown)
		}
		return nil
	}
	return fault(CodeUnavailable, "it comes and goes")
}

// keptBlob returns the record of the blob that is asked for, and keeps it for
// those who will ask next. KindNotFound.
func (c *call) keptBlob(ctx context.Context) (store.Blob, error) {
	var b store.LinkedBlob
	err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
		b, err = r.LinkedBlob(ctx, c.Repository, c.Digest)
		return err
	})
	if err == nil {
		err = c.renew(ctx, store.Tx.LeaseBlob, c.Digest, b.KeptUntil)
	}
	return b.Blob, err
}

// fetchBlob sends a blob that is not kept. Its errors are those that come before
// anything was sent; afterwards the connection is cut.
func (c *call) fetchBlob(ctx context.Context) error {
	d := blobFetch{Handler: c.Handler, mirror: c.mirror, digest: c.Digest}
	if c.pulls.missing.has(d.key()) {
		return dossier.Errorf(dossier.KindNotFound, "pulling", d.key(), "a moment ago "+c.mirror.Name()+" did not have it")
	}
	done, err := c.pulls.wait()
	if err != nil {
		return err
	}
	defer done()
	if c.r.Method == http.MethodHead {
		return c.headBlob(ctx, d)
	}
	from, err := c.pulls.blobs.Join(ctx, d.key(), d.open)
	if err != nil {
		return err
	}
	defer from.Close()
	from.Wait = c.w.rest
	if err := from.Begin(); err != nil {
		return err
	}
	c.send(from)
	if err := from.Err(); err != nil && ctx.Err() == nil {
		c.config.Logger.ErrorContext(ctx, "a pull was cut off", "repository", c.mirror.name, "digest", c.Digest, "error", err)
		panic(http.ErrAbortHandler) // whatever was sent must not look whole
	}
	return nil
}

// headBlob says of a blob that is not kept that it is there.
func (c *call) headBlob(ctx context.Context, d blobFetch) error {
	size, coming := c.pulls.blobs.Size(d.key())
	if !coming {
		remote, err := d.Repository(d.remote)
		if err != nil {
			return err
		}
		size, err = remote.HeadBlob(ctx, c.Digest)
		if d.Note(ctx, err); err != nil {
			return d.failed(err)
		}
	}
	c.describeBytes(c.Digest, "application/octet-stream")
	if size >= 0 {
		c.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// send sends a blob while it comes.
func (c *call) send(from *upstream.Reader) {
	// Each write is a sign of life: no file is handed to the kernel here.
	plain := struct{ http.ResponseWriter }{c.w}
	c.describeBytes(c.Digest, "application/octet-stream")
	if from.Size() >= 0 {
		http.ServeContent(plain, c.r, "", time.Time{}, from)
		return
	}
	c.w.WriteHeader(http.StatusOK)
	_, _ = io.Copy(struct{ io.Writer }{plain}, from) // from says what went wrong; a client that has left is no news
}

// blobFetch is a blob on its way from upstream.
type blobFetch struct {
	*Handler
	*mirror
	digest dossier.Digest
}

func (f blobFetch) key() string { return f.path + "@" + string(f.digest) }

// open begins a download, unless the blob is there already. One that another
// mirror of the same upstream holds needs no download, only the word of the
// upstream that this repository has it too.
func (f blobFetch) open(ctx context.Context) (*upstream.Source, error) {
	remote, err := f.Repository(f.remote)
	if err != nil {
		return nil, err
	}
	var linked, elsewhere bool
	err = f.config.Store.View(ctx, func(r store.Reader) error {
		_, err := r.LinkedBlob(ctx, f.path, f.digest)
		if linked = err == nil; dossier.KindOf(err) != dossier.KindNotFound {
			return err
		}
		_, err = r.UpstreamBlob(ctx, f.Name(), f.digest)
		if elsewhere = err == nil; dossier.KindOf(err) == dossier.KindNotFound {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case linked:
		return nil, upstream.ErrThere
	case elsewhere:
		err := f.link(ctx, remote)
		if !errors.Is(err, errGone) {
			return nil, err
		}
	}
	from, err := remote.Blob(ctx, f.digest)
	if f.Note(ctx, err); err != nil {
		return nil, f.failed(err)
	}
	return &upstream.Source{Bytes: f.noting(ctx, from), Size: from.Size, Keep: f.keep}, nil
}

// failed remembers what an upstream does not have.
func (f blobFetch) failed(err error) error {
	if dossier.KindOf(err) == dossier.KindNotFound {
		f.pulls.missing.add(f.key())
	}
	return err
}

// noting returns a stream whose failure the upstream is charged with.
func (f blobFetch) noting(ctx context.Context, from *image.Blob) io.ReadCloser {
	return &noted{from, func(err error) { f.Note(ctx, err) }}
}

type noted struct {
	io.ReadCloser
	note func(error)
}

// Read implements io.Reader.
func (n *noted) Read(p []byte) (int, error) {
	k, err := n.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		n.note(err)
	}
	return k, err
}

// errGone says that what was there has been collected.
var errGone = errors.New("it is gone")

// link makes the mirror hold a blob that another one holds, and returns
// upstream.ErrThere.
func (f blobFetch) link(ctx context.Context, remote *image.Repository) error {
	_, err := remote.HeadBlob(ctx, f.digest)
	if f.Note(ctx, err); err != nil {
		return f.failed(err)
	}
	var b store.Blob
	err = f.config.Store.View(ctx, func(r store.Reader) (err error) {
		b, err = r.UpstreamBlob(ctx, f.Name(), f.digest)
		return err
	})
	var text []byte
	if err == nil {
		text, err = f.readObject(ctx, b)
	}
	if err == nil {
		err = f.config.Store.Update(ctx, func(tx store.Tx) error { return f.attach(ctx, tx, text) })
	}
	switch {
	case dossier.KindOf(err) == dossier.KindNotFound:
		return errGone
	case err != nil:
		return err
	}
	return upstream.ErrThere
}

// keep writes down what was downloaded.
func (f blobFetch) keep(ctx context.Context, key string, size int64) (kept bool, err error) {
	b := store.Blob{Digest: f.digest, Key: key, Size: size}
	text, err := f.readObject(ctx, b)
	if err != nil {
		return false, err
	}
	err = f.config.Store.Update(ctx, func(tx store.Tx) error {
		was, err := tx.BlobState(ctx, f.digest)
		if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
			return err
		}
		if kept, err = tx.PutBlob(ctx, b); err != nil {
			return err
		}
		if was.Damage != "" && kept {
			k := care.Check{Registry: f.config.Name, Blob: b, At: f.Handler.now()}
			if err := k.Healed(ctx, tx, was.Damage, f.name); err != nil {
				return err
			}
		}
		return f.attach(ctx, tx, text)
	})
	return kept, err
}

// attach makes the mirror hold a blob, and records what follows from that for
// the manifests that wait for it. text is the blob, if it may be a configuration.
func (f blobFetch) attach(ctx context.Context, tx store.Tx, text []byte) error {
	at := f.Handler.now()
	if err := tx.PutMirror(ctx, f.repository(at)); err != nil {
		return err
	}
	if err := tx.LinkBlob(ctx, f.path, f.digest, at, at.Add(f.config.Lease)); err != nil {
		return err
	}
	complete, err := tx.Attach(ctx, f.path, store.Child{Digest: f.digest, Blob: true})
	if err != nil {
		return err
	}
	if err := f.askForContents(ctx, tx, f.mirror, complete); err != nil || text == nil {
		return err
	}
	edges, err := tx.Parents(ctx, []dossier.Digest{f.digest}, dossier.RoleConfig)
	if err != nil {
		return err
	}
	for _, e := range edges {
		m, err := tx.Manifest(ctx, f.path, e.Parent)
		if dossier.KindOf(err) == dossier.KindNotFound {
			continue // of another repository, which has not asked for it
		}
		if err == nil {
			err = f.learnConfig(ctx, tx, m, e, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// learnConfig records what a configuration is, and with it what a manifest that
// was there before is.
func (f blobFetch) learnConfig(ctx context.Context, tx store.Tx, m store.Manifest, edge dossier.Edge, text []byte) error {
	node, err := image.ParseManifest(image.Descriptor{Digest: m.Digest, MediaType: m.MediaType}, m.Body)
	if err != nil || node.Kind != dossier.ImageManifest {
		return err
	}
	config, err := image.ParseConfig(image.Descriptor{MediaType: edge.MediaType, Digest: edge.Child}, text)
	if err != nil {
		return nil // a blob like any other
	}
	node.Platform = config.Platform
	nodes := []image.Node{node, config}
	for _, n := range nodes {
		if _, err := record.Node(ctx, tx, n, nodes); err != nil {
			return err
		}
	}
	return nil
}

// readObject reads a blob that may be a configuration: a JSON object that is
// small enough. Anything else is nil.
func (f blobFetch) readObject(ctx context.Context, b store.Blob) ([]byte, error) {
	if b.Size > maxConfig {
		return nil, nil
	}
	from, err := f.config.Blobs.Open(ctx, b.Key, 0, 1)
	if err != nil {
		return nil, err
	}
	var first [1]byte
	_, err = io.ReadFull(from, first[:])
	if err = errors.Join(err, from.Close()); errors.Is(err, io.EOF) || first[0] != '{' && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return f.readSmall(ctx, b)
}
