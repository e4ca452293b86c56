// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

var errStalled = errors.New("no byte came for the time that Limits.Stall allows")

// watched is a stream that is cut off when it stalls.
type watched struct {
	io.ReadCloser
	cancel  context.CancelFunc
	timer   *time.Timer
	stall   time.Duration
	stalled atomic.Bool
}

// watch returns r, whose context cancel ends: at Close, or when a Read takes
// longer than stall. The time between reads is the caller's own.
func watch(r io.ReadCloser, cancel context.CancelFunc, stall time.Duration) io.ReadCloser {
	w := &watched{ReadCloser: r, cancel: cancel, stall: stall}
	w.timer = time.AfterFunc(stall, func() {
		w.stalled.Store(true)
		cancel()
	})
	w.timer.Stop()
	return w
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) && w.stalled.Load() {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel()
	return err
}
