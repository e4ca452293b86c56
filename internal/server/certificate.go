// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"dossier.dev/dossier"
)

// certificateEvery is how often the files of a certificate are looked at, while
// somebody connects.
const certificateEvery = time.Second

// settled is how old a change must be before times alone say that there was no
// other: file systems keep them with a coarse grain.
const settled = 2 * time.Second

// servedCertificate is that of two files, read again when one of them changes. When they
// are gone, faulty or do not belong together, as in the middle of a change, the last
// good one is shown.
type servedCertificate struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu      sync.Mutex
	shown   *tls.Certificate
	read    [2]fs.FileInfo // of what was read last, good or not; nil: not there
	readAt  time.Time
	checked time.Time
	fault   string // of the last read
}

// openCertificate reads a certificate for the first time, when it must be good.
// KindInvalid.
func openCertificate(cert, key string, log *slog.Logger, now func() time.Time) (*servedCertificate, error) {
	c := &servedCertificate{cert: cert, key: key, log: log, now: now}
	c.checked = now()
	if err := c.load(); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading the certificate", Subject: cert, Err: err,
			Hint: "give a certificate and its key as PEM files"}
	}
	return c, nil
}

// get implements tls.Config.GetCertificate.
func (c *servedCertificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.checked); since >= 0 && since < certificateEvery {
		return c.shown, nil
	}
	c.checked = now
	if !c.changed() {
		return c.shown, nil
	}
	before := c.fault
	if err := c.load(); err != nil {
		if before != err.Error() {
			c.log.WarnContext(hello.Context(), "the certificate cannot be read again; the one from before is shown", "file", c.cert, "error", err)
		}
	} else {
		c.log.InfoContext(hello.Context(), "the certificate was read again", "file", c.cert, "until", c.shown.Leaf.NotAfter)
	}
	return c.shown, nil
}

// stat describes both files as they are.
func (c *servedCertificate) stat() (now [2]fs.FileInfo) {
	for i, path := range []string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			now[i] = info
		}
	}
	return now
}

// changed reports whether the files may hold something else than was read.
func (c *servedCertificate) changed() bool {
	for i, info := range c.stat() {
		was := c.read[i]
		if info == nil || was == nil || !os.SameFile(info, was) || !info.ModTime().Equal(was.ModTime()) || info.Size() != was.Size() ||
			c.readAt.Sub(info.ModTime()) < settled {
			return true
		}
	}
	return false
}

// load reads the files.
func (c *servedCertificate) load() error {
	c.read, c.readAt = c.stat(), c.now()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		c.fault = err.Error()
		return err
	}
	c.shown, c.fault = &pair, ""
	return nil
}
