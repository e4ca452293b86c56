// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/registry/care"
	"dossier.dev/dossier/internal/store"
)

// damaged writes down that a blob is not as it should be, which was found when it
// was to be sent, and returns what the client is told.
func (c *call) damaged(ctx context.Context, b store.Blob, damage string) error {
	k := care.Check{Registry: c.config.Name, Blob: b, At: c.now(), Damage: damage}
	err := c.config.Store.Update(ctx, func(tx store.Tx) error {
		_, err := k.Record(ctx, tx)
		return err
	})
	if dossier.KindOf(err) == dossier.KindNotFound { // it was healed, or collected, at that moment
		return fault(CodeUnavailable, "it has changed its place; ask again")
	}
	c.config.Logger.ErrorContext(ctx, "a blob is damaged", "digest", b.Digest, "damage", damage, "error", err)
	return errors.Join(damageError(store.BlobState{Blob: b, Damage: damage, DamagedAt: k.At}), err)
}

// damageError tells a client that a blob is there and damaged.
func damageError(b store.BlobState) error {
	return &Error{
		Code: CodeBlobUnknown,
		Detail: map[string]any{
			"damage": b.Damage, "since": b.DamagedAt, "hint": "push it again: the registry then has it whole",
		},
		Err: dossier.Errorf(dossier.KindNotFound, "reading blob", string(b.Digest), "its bytes are damaged: "+b.Damage),
	}
}

// explain turns the error of who did not find a blob in a repository into one that
// says so when that is because it is damaged.
func (c *call) explain(ctx context.Context, r store.Reader, err error) error {
	if dossier.KindOf(err) != dossier.KindNotFound {
		return err
	}
	b, readErr := r.BlobState(ctx, c.Digest)
	if readErr != nil || b.Damage == "" {
		return err
	}
	held, readErr := r.Holdings(ctx, c.Digest)
	holds := slices.ContainsFunc(held, func(h store.Holding) bool { return h.Repository.Path == c.Repository && !h.Manifest })
	if readErr != nil || !holds {
		return err
	}
	return damageError(b)
}

// checkSize returns what is wrong with the bytes of a blob that were opened, as far as
// that can be seen at once: that they are more or fewer.
func checkSize(from io.Seeker, want int64) (damage string, err error) {
	size, err := from.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = from.Seek(0, io.SeekStart)
	}
	if err == nil && size != want {
		damage = care.WrongSize(size, want)
	}
	return damage, err
}

// Restore gets a damaged blob that a mirror holds from its upstream again. It
// returns once that was sent whole; it may be on record a moment later.
// KindUnsupported: the repository is not pulled through, or the server is offline.
// Other errors are those of the upstream.
func (h *Handler) Restore(ctx context.Context, path string, d dossier.Digest) error {
	const op = "restoring blob"
	u, rest, ok := h.config.Upstreams.Of(path)
	if !ok {
		return dossier.Errorf(dossier.KindUnsupported, op, path, "it is not pulled through")
	}
	if u.Offline() {
		return dossier.Errorf(dossier.KindUnsupported, op, path, "this server is offline")
	}
	f := blobFetch{Handler: h, mirror: &mirror{Upstream: u, path: path, remote: rest, name: u.Name() + "/" + rest}, digest: d}
	from, err := h.pulls.blobs.Join(ctx, f.key(), f.open)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from)
	return errors.Join(err, from.Close())
}
