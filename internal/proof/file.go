// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/translog"
)

// Format names the form of a File.
const Format = "dossier/proof/v1"

// MaxFile is how large a file may be, decompressed.
const MaxFile = 256 << 20 // bytes

// File is an answer with what proves it.
type File struct {
	Format string        `json:"format"`
	Ref    string        `json:"ref"` // what was asked for
	At     dossier.Times `json:"at"`  // as of when
	Policy answer.Policy `json:"policy"`
	// Dossier is a dossier.Dossier and Evidence an answer.Evidence, without spaces.
	Dossier  json.RawMessage `json:"dossier"`
	Evidence json.RawMessage `json:"evidence"`
	Log      Log             `json:"log"`
	// Layers are what was read of the layers: the bodies of facts that those of the evidence about
	// contents name, by their IDs.
	Layers map[dossier.Digest][]byte `json:"layers,omitempty"`
	// Feeds are the advisories with which packages were compared, whole.
	Feeds []FeedState `json:"feeds,omitempty"`
	Claim string      `json:"claim"` // a signed note of the log's key, see claim
}

// FeedState is a feed as it was at a time.
type FeedState struct {
	Feed   string         `json:"feed"`
	Serial int64          `json:"serial"`
	Digest dossier.Digest `json:"digest"` // of all its advisories (store.EcosystemReader.FeedDigest)
}

// Log is what the log says of the facts of the evidence.
type Log struct {
	Checkpoint string  `json:"checkpoint"` // a signed note
	Entries    []int64 `json:"entries"`    // where each of the facts is, in their order
	// Erased has, by the ID of a fact, the salted hash that is left of a body that was erased.
	Erased    map[dossier.Digest]dossier.Digest `json:"erased,omitempty"`
	Inclusion []byte                            `json:"inclusion"` // hashes, one after another (translog.Inclusions)
	Heads     []translog.Head                   `json:"heads"`     // of those of the subjects that have facts
	Map       []byte                            `json:"map"`       // translog.Heads
}

const opRead = "reading proof"

// gzipMagic is how compressed files begin; no JSON does.
const gzipMagic = "\x1f\x8b"

// Compress returns a file as it is best kept: hashes and digests, of which most of it
// is made, take half the room then.
func Compress(file []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(file)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// decompress returns a file as JSON.
func decompress(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(gzipMagic)) {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(r, MaxFile+1))
	}
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: opRead, Err: fmt.Errorf("it cannot be decompressed: %w", err), Hint: "fetch the file again: it is damaged"}
	}
	return b, nil
}

// Parse reads a file, compressed or not. KindInvalid: it is none. KindUnsupported: it is of another version.
func Parse(b []byte) (File, error) {
	const op = opRead
	var f File
	b, err := decompress(b)
	if err != nil {
		return f, err
	}
	if len(b) > MaxFile {
		return f, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("it has more than MaxFile, %d bytes", MaxFile))
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err, Hint: "dossier show IMAGE --proof FILE writes one"}
	}
	switch {
	case strings.HasPrefix(f.Format, "dossier/proof/") && f.Format != Format:
		return f, &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Subject: f.Format, Err: errors.New("this program reads " + Format), Hint: "use a newer dossier"}
	case f.Format != Format:
		return f, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: fmt.Errorf("its format is %q, want %s", f.Format, Format), Hint: "dossier show IMAGE --proof FILE writes one"}
	}
	return f, nil
}

// claim is what the log's key signs of an answer: that at a size of the log the evidence was all
// that there was. It binds all parts of the file to one another.
func (f *File) claim(c translog.Checkpoint) (string, error) {
	policy, err := json.Marshal(f.Policy)
	if err != nil {
		return "", err
	}
	lines := []string{
		"dossier/claim/v1", c.Origin, fmt.Sprint(c.Size), base64.StdEncoding.EncodeToString(c.Root[:]),
		quoted(f.Ref), moment(f.At.Valid), moment(f.At.Recorded), string(policy),
	}
	for _, part := range []json.RawMessage{f.Dossier, f.Evidence} {
		hash, err := hashOf(part)
		if err != nil {
			return "", err
		}
		lines = append(lines, hash)
	}
	for _, feed := range f.Feeds {
		lines = append(lines, fmt.Sprintf("feed %s %d %s", quoted(feed.Feed), feed.Serial, feed.Digest))
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// quoted writes a text on one line.
func quoted(s string) string {
	b, _ := json.Marshal(s) // of a string: cannot fail
	return string(b)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// hashOf returns the digest of JSON without the spaces in it.
func hashOf(part json.RawMessage) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, part); err != nil {
		return "", err
	}
	return string(dossier.FromBytes(b.Bytes())), nil
}

// subjects are the digests of whose facts the evidence is made: what was asked about, its
// platform manifests and configurations, and whatever else it has facts of. Sorted.
func subjects(e *answer.Evidence) []dossier.Digest {
	all := map[dossier.Digest]bool{e.Subject: true}
	for _, p := range e.Platforms {
		all[p.Manifest], all[p.Config] = true, true
	}
	for _, f := range e.Facts {
		all[f.Subject] = true
	}
	delete(all, "")
	return slices.Sorted(maps.Keys(all))
}

// leaves are the entries of facts in the log.
func leaves(facts []dossier.Fact, entries []int64) []translog.Leaf {
	list := make([]translog.Leaf, len(facts))
	for i, f := range facts {
		list[i] = translog.Leaf{Index: entries[i], Hash: tlog.RecordHash(translog.Entry(f.Subject, f.Seq, f.Leaf))}
	}
	return list
}

func joinHashes(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*sha256.Size)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func splitHashes(b []byte) ([]tlog.Hash, error) {
	if len(b)%sha256.Size != 0 {
		return nil, errors.New("it is not made of whole hashes")
	}
	hashes := make([]tlog.Hash, 0, len(b)/sha256.Size)
	for ; len(b) > 0; b = b[sha256.Size:] {
		hashes = append(hashes, tlog.Hash(b))
	}
	return hashes, nil
}
