// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/registry/access"
	"dossier.dev/dossier/internal/store"
)

// maxConfig is how large a configuration may be for its facts to be taken.
const maxConfig = 8 << 20 // bytes

// push is a manifest on its way in.
type push struct {
	node     image.Node
	config   *image.Node // of an image, when it is one that can be read
	manifest store.Manifest
	children []store.Child
	tags     []string
}

// putManifest takes a manifest ("Pushing Manifests"). It and all that follows
// from it are one transaction: facts, edges, tags.
func (c *call) putManifest(ctx context.Context) error {
	p, err := c.readPush(ctx)
	if err != nil {
		return err
	}
	c.w.digest = p.node.Digest
	err = c.config.Store.Update(ctx, func(tx store.Tx) error { return c.keep(ctx, tx, p) })
	if err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Location", "/v2/"+c.Repository+"/manifests/"+string(p.node.Digest))
	header.Set("Docker-Content-Digest", string(p.node.Digest))
	if p.manifest.Subject != "" {
		header.Set("OCI-Subject", string(p.manifest.Subject))
	}
	for _, tag := range c.Tags {
		header.Add("OCI-Tag", tag)
	}
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// readPush reads a manifest and checks whatever can be checked without the
// transaction.
func (c *call) readPush(ctx context.Context) (*push, error) {
	if c.r.ContentLength > MaxManifest {
		return nil, errManifestTooLarge
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, MaxManifest+1))
	if err != nil {
		return nil, fault(CodeManifestInvalid, "the manifest could not be read: %w", err)
	}
	if len(b) > MaxManifest {
		return nil, errManifestTooLarge
	}
	d := cmpDigest(c.Digest, b)
	if !d.Matches(b) {
		return nil, fault(CodeDigestInvalid, "the manifest is %s, not %s", dossier.FromBytes(b), d)
	}
	mediaType, err := contentType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	p, err := c.newPush(ctx, b, d, mediaType, c.now())
	if err != nil {
		return nil, err
	}
	p.tags = c.Tags
	if c.Tag != "" {
		p.tags = []string{c.Tag}
	}
	return p, nil
}

// newPush returns the push of a manifest whose digest was checked.
func (c *call) newPush(ctx context.Context, b []byte, d dossier.Digest, mediaType string, at time.Time) (*push, error) {
	node, err := image.ParseManifest(image.Descriptor{Digest: d, MediaType: mediaType}, b)
	if err != nil {
		return nil, &Error{Code: CodeManifestInvalid, Err: err}
	}
	if mediaType != "" && node.MediaType != mediaType {
		return nil, fault(CodeManifestInvalid, "Content-Type says %s, the manifest says %s", mediaType, node.MediaType)
	}
	p := &push{node: node}
	p.describe(c.config.Sparse)
	p.manifest.Repository, p.manifest.PushedAt = c.Repository, at
	p.manifest.KeptUntil = c.now().Add(c.config.Lease)
	if missing, err := c.readConfig(ctx, p); err != nil {
		return nil, err
	} else if missing != "" {
		return nil, missingError(p.node.Digest, []dossier.Digest{missing})
	}
	return p, nil
}

var errManifestTooLarge = fault(CodeTooLarge, "a manifest has at most %d bytes", MaxManifest)

// cmpDigest returns d, or when that is empty the digest of b.
func cmpDigest(d dossier.Digest, b []byte) dossier.Digest {
	if d == "" {
		return dossier.FromBytes(b)
	}
	return d
}

// contentType returns the media type of a header, without parameters.
func contentType(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	mediaType, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", fault(CodeManifestInvalid, "the Content-Type is malformed")
	}
	return mediaType, nil
}

// describe fills in what the registry keeps of the manifest.
func (p *push) describe(sparse bool) {
	var m struct {
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
	}
	_ = json.Unmarshal(p.node.Bytes, &m) // annotations that are no strings are none
	n := p.node
	p.manifest = store.Manifest{
		Digest: n.Digest, MediaType: n.MediaType, ArtifactType: m.ArtifactType, Size: int64(len(n.Bytes)), Body: n.Bytes,
	}
	for _, e := range n.Edges {
		switch {
		case e.Role == dossier.RoleSubject:
			p.manifest.Subject = e.Child
		case e.Role == dossier.RoleConfig && p.manifest.ArtifactType == "":
			p.manifest.ArtifactType = e.MediaType
		}
	}
	for _, need := range Needs(n, sparse) {
		p.children = append(p.children, need.Child)
	}
	if p.manifest.Subject != "" && len(m.Annotations) > 0 {
		p.manifest.Annotations, _ = json.Marshal(m.Annotations) // strings: cannot fail
	}
}

// Need is something that a manifest needs.
type Need struct {
	store.Child
	MediaType string
}

// Needs returns what a manifest needs: configuration, layers, the entries of an
// index, which are optional when it may be sparse. A subject may be missing.
func Needs(n image.Node, sparse bool) []Need {
	var list []Need
	for _, e := range n.Edges {
		need := Need{store.Child{Digest: e.Child, Blob: true}, e.MediaType}
		switch e.Role {
		case dossier.RoleSubject:
			continue
		case dossier.RoleConfig:
		case dossier.RoleLayer:
			need.Optional = isForeign(e.MediaType)
		default:
			need.Blob, need.Optional = !isManifest(e.MediaType), sparse
		}
		list = append(list, need)
	}
	return list
}

// isForeign reports whether layers of a media type may lie elsewhere.
func isForeign(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		mediaType == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

// isManifest reports whether an entry of an index is a manifest. Some build
// caches list layers there.
func isManifest(mediaType string) bool {
	return slices.Contains([]string{
		mediaIndex, "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
	}, mediaType)
}

// readConfig reads the configuration of an image, whose facts are taken with
// those of the manifest. What cannot be read as one is a blob like any other.
// When the repository lacks it, missing is its digest.
func (h *Handler) readConfig(ctx context.Context, p *push) (missing dossier.Digest, err error) {
	edge, ok := p.configEdge()
	if !ok {
		return "", nil
	}
	var b store.LinkedBlob
	var text []byte
	linked := false
	err = h.config.Store.View(ctx, func(r store.Reader) (err error) {
		b, err = r.LinkedBlob(ctx, p.manifest.Repository, edge.Child)
		if linked = err == nil; linked && store.IsSmallKey(b.Key) {
			text, err = r.SmallBlob(ctx, b.Key)
		}
		return err
	})
	switch {
	case !linked && dossier.KindOf(err) == dossier.KindNotFound:
		return edge.Child, nil
	case err != nil:
		return "", err
	}
	if !store.IsSmallKey(b.Key) {
		if text, err = h.readSmall(ctx, b.Blob); err != nil || text == nil {
			return "", err
		}
	}
	node, err := image.ParseConfig(image.Descriptor{MediaType: edge.MediaType, Digest: edge.Child}, text)
	if err == nil {
		p.config, p.node.Platform = &node, node.Platform
	}
	return "", nil
}

// configEdge returns the edge to the configuration of an image.
func (p *push) configEdge() (dossier.Edge, bool) {
	if p.node.Kind != dossier.ImageManifest {
		return dossier.Edge{}, false
	}
	at := slices.IndexFunc(p.node.Edges, func(e dossier.Edge) bool { return e.Role == dossier.RoleConfig })
	if at < 0 {
		return dossier.Edge{}, false
	}
	return p.node.Edges[at], true
}

// readSmall reads a blob that is small enough for a configuration, else nil.
func (h *Handler) readSmall(ctx context.Context, b store.Blob) ([]byte, error) {
	if b.Size > maxConfig {
		return nil, nil
	}
	from, err := h.config.Blobs.Open(ctx, b.Key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(from, maxConfig)); err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", b.Digest, err)
	}
	return text.Bytes(), nil
}

// missingError says what a manifest needs and the repository lacks.
func missingError(d dossier.Digest, missing []dossier.Digest) error {
	const most = 10
	return &Error{
		Code: CodeManifestBlobUnknown, Detail: map[string]any{"missing": missing[:min(most, len(missing))]},
		Err: fmt.Errorf("manifest %s needs %s, which is not in the repository", d, missing[0]),
	}
}

// keep writes a push.
func (c *call) keep(ctx context.Context, tx store.Tx, p *push) error {
	at := p.manifest.PushedAt
	repo, err := tx.PutRepository(ctx, c.Repository, at)
	if err != nil {
		return err
	}
	missing, err := tx.PutManifest(ctx, p.manifest, p.children)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return missingError(p.node.Digest, missing)
	}
	isNew, err := p.learn(ctx, tx, repo.Name)
	if err != nil {
		return err
	}
	if isNew && p.node.Kind == dossier.ImageManifest && c.config.Contents {
		if err := record.ReadContents(ctx, tx, p.node.Digest, repo.Name); err != nil {
			return err
		}
	}
	body := dossier.EventBody{Object: dossier.ObjectManifest, Size: p.manifest.Size}
	for _, tag := range p.tags {
		move, err := c.setTag(ctx, tx, store.NameTag{Name: repo.Name, Tag: tag}, p)
		if err != nil {
			return err
		}
		body.Tags = append(body.Tags, dossier.EventTag{Tag: tag, Was: move.Was, Moved: move.Moved})
	}
	return c.event(ctx, tx, dossier.FactPush, p.node.Digest, c.now(), body)
}

// learn records what a manifest is, and that a repository of that name has it.
// It reports whether the manifest is new.
func (p *push) learn(ctx context.Context, tx store.Tx, name string) (bool, error) {
	nodes := []image.Node{p.node}
	if p.config != nil {
		nodes = append(nodes, *p.config)
	}
	isNew := false
	for _, n := range nodes {
		added, err := record.Node(ctx, tx, n, nodes)
		if err != nil {
			return false, err
		}
		isNew = isNew || added && n.Digest == p.node.Digest
	}
	return isNew, record.Name(ctx, tx, p.node.Digest, name, p.manifest.PushedAt)
}

// setTag points a tag at what was pushed.
func (c *call) setTag(ctx context.Context, tx store.Tx, tag store.NameTag, p *push) (store.TagMove, error) {
	fixed := c.config.Fixed != nil && c.config.Fixed(c.Repository, tag.Tag)
	move, err := tx.SetTag(ctx, tag, p.node.Digest, p.manifest.PushedAt, fixed)
	held, isHeld := errors.AsType[*store.TagHeld](err)
	if isHeld && c.may(ctx, access.Pull) == nil {
		return move, &Error{Code: CodeTagFixed, Err: err, Detail: map[string]any{
			"tag": tag.Tag, "digest": held.Digest, "since": held.Since, "hint": dossier.HintOf(err),
		}}
	}
	if isHeld || move.Was != "" { // it points elsewhere
		if denied := c.may(ctx, access.Retag); denied != nil {
			return move, denied // and the transaction undoes it
		}
	}
	if isHeld { // where it points is not for who may not pull
		return move, fault(CodeTagFixed, "tag %s does not move", tag.Tag)
	}
	if err != nil || !move.Moved {
		return move, err
	}
	return move, record.Moved(ctx, tx, tag, move.Was, p.node.Digest, move.At)
}
