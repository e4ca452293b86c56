// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"dossier.dev/dossier"
)

const (
	downloaded = ".part"
	aside      = ".json" // beside a download: of which file it is the beginning
)

// attempts is how often a download that breaks off is continued at once.
const attempts = 3

// beginning says of which version of a file a download is.
type beginning struct {
	From string `json:"from"`
	Validators
}

// download returns a file of a base, opened, at its beginning: nil when it is
// still the one that the validators tell of. A file of a web server is stored in
// Dir; one that broke off is continued, if it is still the same there.
func (f *Fetcher) download(ctx context.Context, b base, name string, unless Validators, limits Limits) (*os.File, Validators, error) {
	if d, ok := b.(directory); ok {
		o, err := d.open(ctx, name, unless, Validators{}, 0)
		if err != nil || o == nil {
			return nil, Validators{}, err
		}
		return o.local, o.Validators, nil
	}
	from := b.where(name)
	sum := sha256.Sum256([]byte(from))
	path := filepath.Join(f.dir(), hex.EncodeToString(sum[:8])+downloaded)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, Validators{}, fileError(err, path)
	}
	for try := 1; ; try++ {
		o, err := f.resume(ctx, b, name, file, unless, limits)
		switch {
		case err == nil && o == nil:
			return nil, Validators{}, errors.Join(file.Close(), f.discard(path))
		case err == nil:
			return file, o.Validators, nil
		case try < attempts && dossier.KindOf(err) == dossier.KindUnavailable && errors.Is(err, errBrokeOff) && ctx.Err() == nil:
			continue
		case dossier.KindOf(err) == dossier.KindCorrupt:
			return nil, Validators{}, errors.Join(err, file.Close(), f.discard(path))
		}
		return nil, Validators{}, errors.Join(err, file.Close())
	}
}

// errBrokeOff says that a download ended early: what came of it is kept.
var errBrokeOff = errors.New("it broke off")

// resume continues a download, or begins it.
func (f *Fetcher) resume(ctx context.Context, b base, name string, file *os.File, unless Validators, limits Limits) (*opened, error) {
	was := beginning{}
	offset, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fileError(err, file.Name())
	}
	if text, err := os.ReadFile(file.Name() + aside); err == nil {
		_ = json.Unmarshal(text, &was) // what cannot be read is nothing to continue from
	}
	if was.From != b.where(name) {
		was, offset = beginning{}, 0
	}
	o, err := b.open(ctx, name, unless, was.Validators, offset)
	if errors.Is(err, errNoMore) { // it was read to its end before, and nobody came to use it
		o, err = b.open(ctx, name, unless, Validators{}, 0)
	}
	if err != nil || o == nil {
		return nil, err
	}
	defer o.Close()
	if o.size > limits.Archive {
		return nil, exceeds(opFetch, b.where(name), "Archive", o.size, limits.Archive, "bytes")
	}
	if err := begin(file, beginning{b.where(name), o.Validators}, o.offset); err != nil {
		return nil, err
	}
	n, err := io.Copy(file, io.LimitReader(o, limits.Archive-o.offset+1))
	total := o.offset + n
	switch {
	case total > limits.Archive:
		return nil, exceeds(opFetch, b.where(name), "Archive", total, limits.Archive, "bytes")
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil || o.size >= 0 && total < o.size:
		return nil, &dossier.Error{
			Kind: dossier.KindUnavailable, Op: opFetch, Subject: b.where(name), Err: fmt.Errorf("%w after %d bytes", errBrokeOff, total),
			Hint: "run it again: it continues there",
		}
	}
	return o, checkSum(file, o.crc32c, b.where(name))
}

// begin prepares the file for bytes from an offset on, and notes whose they are.
func begin(file *os.File, b beginning, offset int64) error {
	text, err := json.Marshal(b)
	if err == nil {
		err = file.Truncate(offset)
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err == nil {
		err = os.WriteFile(file.Name()+aside, text, 0o600)
	}
	if err != nil {
		return fileError(err, file.Name())
	}
	return nil
}

// checkSum compares a file with the sum that the server told, if it did.
func checkSum(file *os.File, want, from string) error {
	if want == "" {
		return nil
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fileError(err, file.Name())
	}
	if _, err := io.Copy(h, file); err != nil {
		return fileError(err, file.Name())
	}
	if got := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, h.Sum32())); got != want {
		return dossier.Errorf(dossier.KindCorrupt, opFetch, from, fmt.Sprintf("its CRC32C is %s, the server says %s", got, want))
	}
	return nil
}
