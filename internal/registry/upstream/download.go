// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// Limits of downloads.
const (
	// MaxDownloads is how many blobs are on their way at a time; more wait.
	MaxDownloads = 64
	// FinishWithin is how many bytes a download may lack to be finished although
	// everybody who waited for it has left. One that is half done is finished too.
	FinishWithin = 64 << 20
)

// keepTime is how long writing down what was downloaded may take.
const keepTime = 30 * time.Second

// ErrThere is what a function given to Join returns when there is nothing to
// download: it is kept already.
var ErrThere = errors.New("it is kept already")

// Source is a blob that is about to be downloaded.
type Source struct {
	// Bytes ends in io.EOF only when all of it was right.
	Bytes io.ReadCloser
	Size  int64 // -1: unknown
	// Keep writes down that the blob lies under key. kept is false when there is
	// no need for it, since the same bytes lie under another.
	Keep func(ctx context.Context, key string, size int64) (kept bool, err error)
}

// Downloads are the blobs that are on their way into a blob store. However many
// want one, it is downloaded once; each reads it from where it is written to.
//
// What is on its way takes the memory of one blob.Writer and a buffer, however large it is
// and however slow those who read it. Where a Writer is no blob.Peeker the bytes are
// written to a file in Spool as well, which has no name and so goes with the process.
//
// Nobody gets the last byte before all of them were found to be right. When they
// are not, those who wait get an error in its place, and nothing is kept.
type Downloads struct {
	Blobs  blob.Store
	Spool  string       // directory, made when it is not there; empty: that of the system
	Logger *slog.Logger // required

	once   sync.Once
	slots  chan struct{}
	mu     sync.Mutex
	closed bool
	active map[string]*download
	all    sync.WaitGroup
}

// download is one blob on its way.
type download struct {
	parent *Downloads
	key    string // among the active ones
	cancel context.CancelFunc
	ready  chan struct{} // closed when size and peek are set, or err
	size   int64         // -1: unknown
	peek   blob.Peek

	mu       sync.Mutex
	changed  chan struct{} // closed when one of these changes
	readers  int
	received int64
	right    bool // all of it was received and verified
	ended    bool // nobody writes to it any more
	err      error
}

// Join returns a Reader of the blob that key stands for. When nobody downloads it
// yet, open says where from. Its errors are those of Join, for all who wait.
// KindUnavailable: the Downloads are closed.
func (d *Downloads) Join(ctx context.Context, key string, open func(ctx context.Context) (*Source, error)) (*Reader, error) {
	d.once.Do(func() { d.slots, d.active = make(chan struct{}, MaxDownloads), map[string]*download{} })
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, errClosed("downloading", key)
	}
	b, ok := d.active[key]
	if !ok {
		b = d.start(ctx, key, open)
	}
	b.mu.Lock()
	b.readers++
	b.mu.Unlock()
	d.mu.Unlock()
	r := &Reader{ctx: ctx, download: b}
	select {
	case <-b.ready:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), r.Close())
	}
	if b.peek == nil { // it failed before it began
		return nil, errors.Join(b.failure(), r.Close())
	}
	return r, nil
}

// Size returns the size of a blob that is on its way, if it is and that is known.
func (d *Downloads) Size(key string) (int64, bool) {
	d.mu.Lock()
	b, ok := d.active[key]
	d.mu.Unlock()
	if !ok {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	size := b.total()
	return size, size >= 0 && b.peek != nil
}

// start begins a download. The caller holds the lock.
func (d *Downloads) start(ctx context.Context, key string, open func(ctx context.Context) (*Source, error)) *download {
	// It belongs to all who wait, not to the first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &download{parent: d, key: key, cancel: cancel, size: -1, ready: make(chan struct{}), changed: make(chan struct{})}
	d.active[key] = b
	d.all.Go(func() {
		defer cancel()
		_, err := guarded(ctx, key, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.run(ctx, open) })
		b.end(err)
	})
	return b
}

// run downloads, and keeps what came.
func (b *download) run(ctx context.Context, open func(ctx context.Context) (*Source, error)) error {
	select {
	case b.parent.slots <- struct{}{}:
		defer func() { <-b.parent.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	src, err := open(ctx)
	if err != nil {
		return err
	}
	defer src.Bytes.Close()
	key := blob.NewKey()
	w, err := b.parent.Blobs.Create(ctx, key)
	if err != nil {
		return err
	}
	defer b.abort(ctx, w)
	from := &progress{download: b, from: src.Bytes}
	peek, err := b.parent.peek(w, from)
	if err != nil {
		return err
	}
	b.begin(src.Size, peek)
	if _, err := w.Append(ctx, blob.Promised{Reader: from, Size: src.Size}); err != nil {
		return err
	}
	b.isRight(from.given)
	// What is right is kept even when nobody waits for it any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	size, _, err := w.Commit(ctx)
	if err != nil {
		return err
	}
	kept, err := src.Keep(ctx, key, size)
	if err == nil && !kept {
		err = b.parent.Blobs.Delete(ctx, key)
	}
	// After an error it is not known whether it was written down: the bytes stay.
	return err
}

// begin lets those read who wait.
func (b *download) begin(size int64, peek blob.Peek) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size, b.peek = size, peek
	close(b.ready)
}

// abort removes what was written, unless it was committed.
func (b *download) abort(ctx context.Context, w blob.Writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := w.Abort(ctx); err != nil {
		b.parent.Logger.WarnContext(ctx, "what was downloaded in part could not be removed", "error", err)
	}
}

// peek opens the bytes that w will be given from a source.
func (d *Downloads) peek(w blob.Writer, from *progress) (blob.Peek, error) {
	if p, ok := w.(blob.Peeker); ok {
		return p.Peek()
	}
	if d.Spool != "" {
		if err := os.MkdirAll(d.Spool, 0o700); err != nil {
			return nil, &dossier.Error{Kind: dossier.KindStorage, Op: "making a directory for downloads", Subject: d.Spool, Err: err}
		}
	}
	f, err := os.CreateTemp(d.Spool, "dossier-download-")
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindStorage, Op: "making a file for a download", Subject: d.Spool, Err: err}
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(&dossier.Error{Kind: dossier.KindStorage, Op: "hiding the file of a download", Subject: f.Name(), Err: err}, f.Close())
	}
	from.copy = f
	return f, nil
}

// progress hands the bytes of a download to a blob.Writer, and tells the readers
// when they can be read.
type progress struct {
	download *download
	from     io.Reader
	copy     *os.File // nil: they can be read where they are written to
	given    int64
}

// Read implements io.Reader. Whoever asks for more has written what he got.
func (p *progress) Read(buf []byte) (int, error) {
	p.download.advance(p.given)
	n, err := p.from.Read(buf)
	if p.copy != nil {
		if _, copyErr := p.copy.Write(buf[:n]); copyErr != nil {
			return 0, &dossier.Error{Kind: dossier.KindStorage, Op: "writing the file of a download", Err: copyErr}
		}
	}
	if p.given += int64(n); p.copy != nil {
		p.download.advance(p.given)
	}
	return n, err
}

// advance says that so many bytes can be read.
func (b *download) advance(received int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if received > b.received {
		b.received = received
		b.tell()
	}
}

// isRight says that all bytes can be read, and that they are what they should be.
func (b *download) isRight(received int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.right, b.received = true, received
	b.tell()
}

// tell wakes those who wait. The caller holds the lock.
func (b *download) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// end ends the download. From now on whoever wants the blob finds it in the
// store, or begins anew.
func (b *download) end(err error) {
	b.parent.forget(b)
	b.mu.Lock()
	b.ended = true
	right := b.right
	if !right {
		b.err = err
	}
	b.tell()
	last := b.readers == 0
	b.mu.Unlock()
	if b.peek == nil {
		close(b.ready)
		return
	}
	if right && err != nil { // they got what they wanted
		b.parent.Logger.Error("what was downloaded could not be kept", "blob", b.key, "error", err)
	}
	if last {
		b.closePeek()
	}
}

func (d *Downloads) forget(b *download) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active[b.key] == b {
		delete(d.active, b.key)
	}
}

func (b *download) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *download) closePeek() {
	if err := b.peek.Close(); err != nil {
		b.parent.Logger.Warn("the file of a download could not be closed", "error", err)
	}
}

// leave is called when a reader has gone. The last one ends a download that is
// not worth finishing, so that who comes later does not find it.
func (b *download) leave() {
	d := b.parent
	d.mu.Lock()
	b.mu.Lock()
	b.readers--
	last, ended := b.readers == 0, b.ended
	finish := b.right || b.size >= 0 && (b.size-b.received <= FinishWithin || b.received >= b.size/2)
	if last && !ended && !finish {
		if d.active[b.key] == b {
			delete(d.active, b.key)
		}
		b.cancel()
	}
	b.mu.Unlock()
	d.mu.Unlock()
	if last && ended && b.peek != nil {
		b.closePeek()
	}
}

// Close ends all downloads and waits for their end.
func (d *Downloads) Close() {
	d.mu.Lock()
	d.closed = true
	for _, b := range d.active {
		b.cancel()
	}
	d.mu.Unlock()
	d.all.Wait()
}

// Reader reads a blob while it is downloaded. It waits for bytes that have not
// come yet. It is for one goroutine, and must be closed.
type Reader struct {
	ctx      context.Context // of who reads
	download *download
	offset   int64
	err      error
	closed   bool
	// Wait, when set, is called before each time that a Read has to wait.
	Wait func()
}

// Begin waits until there is something to read, or nothing more will come. Its
// error is that of Read.
func (r *Reader) Begin() error {
	b := r.download
	for r.err == nil {
		b.mu.Lock()
		right, failed, changed, received := b.right, b.err, b.changed, b.received
		b.mu.Unlock()
		if right || failed == nil && received > 1 {
			return nil
		}
		if r.err = failed; r.err == nil {
			r.wait(changed)
		}
	}
	return r.err
}

// Size returns the size of the blob, or -1 when it is not known yet.
func (r *Reader) Size() int64 {
	r.download.mu.Lock()
	defer r.download.mu.Unlock()
	return r.download.total()
}

// total is the size of the blob, as far as it is known. The caller holds the lock.
func (b *download) total() int64 {
	if b.right {
		return b.received
	}
	return b.size
}

// Err returns the error by which Read ended, if it was none of io.EOF: the blob
// did not come whole, or not right.
func (r *Reader) Err() error { return r.err }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	b := r.download
	for r.err == nil {
		b.mu.Lock()
		right, failed, changed := b.right, b.err, b.changed
		readable := b.received - r.offset
		if !right {
			readable-- // the last byte stands for all
		}
		b.mu.Unlock()
		switch {
		case failed != nil:
			r.err = failed
		case readable > 0:
			n, err := b.peek.ReadAt(p[:min(int64(len(p)), readable)], r.offset)
			r.offset += int64(n)
			if err != nil && err != io.EOF {
				r.err = &dossier.Error{Kind: dossier.KindStorage, Op: "reading what was downloaded", Subject: b.key, Err: err}
			}
			return n, r.err
		case right:
			return 0, io.EOF
		default:
			r.wait(changed)
		}
	}
	return 0, r.err
}

// wait waits for a change.
func (r *Reader) wait(changed <-chan struct{}) {
	if r.Wait != nil {
		r.Wait()
	}
	select {
	case <-changed:
	case <-r.ctx.Done():
		r.err = r.ctx.Err()
	}
}

// Seek implements io.Seeker. The end is known only when the size is.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		size := r.Size()
		if size < 0 {
			return 0, errors.New("the size is not known yet")
		}
		offset += size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	r.offset = offset
	return offset, nil
}

// Close implements io.Closer.
func (r *Reader) Close() error {
	if !r.closed {
		r.closed = true
		r.download.leave()
	}
	return nil
}
