// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dossier.dev/dossier"
)

// Checkpoint is what a log signs: how many entries it has and the hash over them
// (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Map    *tlog.Hash // root of the map of heads; nil: it has none
}

// mapExtension begins the line of a checkpoint that has the root of the map.
const mapExtension = "dossier/map/v1 "

// maxCheckpoint is how large a signed checkpoint may be.
const maxCheckpoint = 64 << 10 // bytes

// text is what is signed.
func (c Checkpoint) text() string {
	text := fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
	if c.Map != nil {
		text += mapExtension + base64.StdEncoding.EncodeToString(c.Map[:]) + "\n"
	}
	return text
}

// sign returns the checkpoint as a signed note (C2SP signed-note).
func (c Checkpoint) sign(s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, s)
}

// ParseLog reads the verifier key of a log. KindInvalid: it is none.
func ParseLog(key string) (note.Verifier, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the key of the log", Subject: key, Err: err,
			Hint: "a server tells the key of its log, NAME+HASH+KEY, when it starts"}
	}
	return v, nil
}

// OpenCheckpoint checks the signature of a checkpoint by the key of its log, whose
// name must be its origin, and reads it. KindInvalid: it is malformed.
// KindDenied: it has no signature by that key.
func OpenCheckpoint(signed []byte, log note.Verifier) (Checkpoint, error) {
	const op = "reading checkpoint"
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, dossier.Errorf(dossier.KindLimit, op, log.Name(), fmt.Sprintf("it has %d bytes, at most %d are read", len(signed), maxCheckpoint))
	}
	n, err := note.Open(signed, note.VerifierList(log))
	if err != nil {
		kind := dossier.KindInvalid
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			kind = dossier.KindDenied
		}
		return Checkpoint{}, &dossier.Error{Kind: kind, Op: op, Subject: log.Name(), Err: err}
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != log.Name() {
		err = fmt.Errorf("it is of %q", c.Origin)
	}
	if err != nil {
		return Checkpoint{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Subject: log.Name(), Err: err}
	}
	return c, nil
}

// parseCheckpoint reads the text of a checkpoint. Lines after the third are
// extensions, and left aside but for that of the map.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 {
		return Checkpoint{}, errors.New("it has fewer than three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, errors.New("the second line is no size")
	}
	c := Checkpoint{Origin: lines[0], Size: size}
	if c.Root, err = parseHash(lines[2]); err != nil || lines[0] == "" {
		return Checkpoint{}, errors.New("the third line is no hash")
	}
	for line := range strings.Lines(lines[3]) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), mapExtension); ok {
			root, err := parseHash(text)
			if err != nil || c.Map != nil {
				return Checkpoint{}, errors.New("it has two roots of the map, or one that is no hash")
			}
			c.Map = &root
		}
	}
	return c, nil
}

func parseHash(text string) (tlog.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != tlog.HashSize {
		return tlog.Hash{}, errors.New("it is no hash")
	}
	return tlog.Hash(b), nil
}

// Entry returns the bytes of an entry of the log.
func Entry(subject dossier.Digest, seq int64, leaf dossier.Digest) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "dossier/entry/v1\n%s\n%d\n%s\n", subject, seq, leaf)
	return b.Bytes()
}
