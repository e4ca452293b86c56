// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"dossier.dev/dossier"
)

// Source is a layer that can be read.
type Source struct {
	Digest dossier.Digest // of the bytes as they are transferred
	DiffID dossier.Digest // of the bytes when decompressed; empty: not checked
	Size   int64          // bytes as transferred, as the manifest says; 0: not known. A hint, not checked
	// Open returns the bytes that Digest names, compressed as they are. It may
	// be called more than once.
	Open func(context.Context) (io.ReadCloser, error)
}

// Limits bound what Walk reads. A zero field means its default.
type Limits struct {
	Compressed int64 // bytes as transferred; 32 GiB
	Unpacked   int64 // bytes when decompressed; 64 GiB
	Entries    int   // of the archive; 10,000,000
}

func (l Limits) orDefault() Limits {
	return Limits{
		Compressed: cmp.Or(l.Compressed, 32<<30),
		Unpacked:   cmp.Or(l.Unpacked, 64<<30),
		Entries:    cmp.Or(l.Entries, 10_000_000),
	}
}

// Summary is what Walk found out about a layer as a whole.
type Summary struct {
	// Digest is the digest of Source, once it was checked; empty before.
	Digest dossier.Digest
	// DiffID is the digest of the decompressed bytes; empty when they were not
	// read to their end.
	DiffID   dossier.Digest
	Size     int64 // bytes as transferred
	Unpacked int64 // bytes decompressed
	Entries  int
}

// Visit gets one entry of the archive. Its content is valid until Visit
// returns, and need not be read.
type Visit func(h *tar.Header, content io.Reader) error

// Walk reads a layer to its end and calls visit for each entry, in the order of
// the archive. An error of visit ends the visits, not the check of the digest,
// and is returned unless the digest is wrong.
//
// It fails with KindCorrupt when the bytes are not those of Digest or DiffID,
// KindInvalid when they are no archive or a truncated one, KindUnsupported for
// an unknown compression, KindLimit when limits are exceeded, or as Open does.
// With an error that has nothing to do with the digest, Summary.Digest tells
// that the digest was right all the same.
func Walk(ctx context.Context, s Source, limits Limits, visit Visit) (Summary, error) {
	const op = "reading layer"
	limits = limits.orDefault()
	var sum Summary
	digest := s.Digest.NewHash()
	if digest == nil || s.DiffID != "" && s.DiffID.NewHash() == nil {
		return sum, dossier.Errorf(dossier.KindInvalid, op, fmt.Sprintf("%.100q", s.Digest), "its digest is malformed")
	}
	fail := func(err error) (Summary, error) { return sum, fmt.Errorf("%s %s: %w", op, s.Digest, err) }
	body, err := s.Open(ctx)
	if err != nil {
		return fail(err)
	}
	defer body.Close()

	raw := io.TeeReader(counting(&sum.Size, atMost(limits.Compressed, "bytes of a layer", until(ctx, body))), digest)
	unpackErr := unpack(raw, s.DiffID, limits, &sum, func(h *tar.Header, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err // what was read ahead does not count
		}
		return visit(h, content)
	})
	// The rest is read whatever the archive was like: a wrong digest is the
	// better explanation of a broken archive.
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return fail(err)
	}
	if got := dossier.FromHash(s.Digest.Algorithm(), digest); got != s.Digest {
		sum.DiffID = ""
		return sum, dossier.Errorf(dossier.KindCorrupt, op, string(s.Digest), fmt.Sprintf("its bytes have the digest %s", got))
	}
	sum.Digest = s.Digest
	if unpackErr != nil {
		return fail(unpackErr)
	}
	return sum, nil
}

// unpack decompresses raw and visits the entries of the archive in it.
func unpack(raw io.Reader, diffID dossier.Digest, limits Limits, sum *Summary, visit Visit) error {
	plain, err := Decompress(raw)
	if err != nil {
		return err
	}
	defer plain.Close()
	prepared, stop := ahead(plain)
	defer stop()
	r := counting(&sum.Unpacked, atMost(limits.Unpacked, "decompressed bytes of a layer", prepared))
	var h hash.Hash
	if diffID != "" {
		h = diffID.NewHash()
		r = io.TeeReader(r, h)
	}
	if err := visitAll(r, limits, sum, visit); err != nil || h == nil {
		return err
	}
	// Padding after the end of the archive belongs to the layer.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return invalid(err)
	}
	sum.DiffID = dossier.FromHash(diffID.Algorithm(), h)
	if sum.DiffID != diffID {
		return dossier.Errorf(dossier.KindCorrupt, "checking its content", "",
			fmt.Sprintf("decompressed it has the digest %s, the image's configuration says %s", sum.DiffID, diffID))
	}
	return nil
}

func visitAll(r io.Reader, limits Limits, sum *Summary, visit Visit) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return invalid(err)
		}
		if sum.Entries++; sum.Entries > limits.Entries {
			return dossier.Errorf(dossier.KindLimit, "reading archive", "", fmt.Sprintf("there are more than %d entries", limits.Entries))
		}
		if err := visit(h, archiveContent{archive}); err != nil {
			return err
		}
	}
}

// archiveContent gives errors of an archive their kind.
type archiveContent struct{ r io.Reader }

func (c archiveContent) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = invalid(err)
	}
	return n, err
}

// invalid gives an error of the archive or its compression the kind KindInvalid
// unless it has one.
func invalid(err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &dossier.Error{Kind: dossier.KindInvalid, Op: "reading archive", Err: err}
}
