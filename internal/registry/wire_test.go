// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// drip gives n bytes at a time, with a pause before each time.
type drip struct {
	n     int
	pause time.Duration
	times int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.times == 0 {
		return 0, io.EOF
	}
	d.times--
	time.Sleep(d.pause)
	return min(d.n, len(p)), nil
}

func (d *drip) Close() error { return nil }

// TestSlowLoris sends a little now and then, always within ReadTimeout.
func TestSlowLoris(t *testing.T) {
	for name, test := range map[string]struct {
		drip drip
		slow bool
	}{
		"a byte a second":     {drip{1, time.Second, 3600}, true},
		"a byte each 29 s":    {drip{1, 29 * time.Second, 100}, true},
		"a kibibyte a second": {drip{MinRate, time.Second, 600}, false},
		"much, with pauses":   {drip{8 << 10, 7 * time.Second, 60}, false},
		"short":               {drip{1, time.Second, 20}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPatch, "/", &test.drip)
				b := newBody(r, http.NewResponseController(httptest.NewRecorder()), MaxBlob, ReadTimeout)
				begin := time.Now()
				_, err := io.Copy(io.Discard, b)
				if got := errors.Is(err, errTooSlow); got != test.slow || !got && err != nil {
					t.Errorf("%v, want it refused as slow: %t", err, test.slow)
				}
				if took := time.Since(begin); test.slow && took > 2*ReadTimeout {
					t.Errorf("refused after %v", took)
				}
			})
		})
	}
}
