// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"testing"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier"
)

func TestFault(t *testing.T) {
	for _, tt := range []struct {
		code   string
		status int
		want   dossier.Kind
	}{
		{"NoSuchKey", 404, dossier.KindNotFound},
		{"NoSuchUpload", 404, dossier.KindNotFound},
		{"NoSuchBucket", 404, dossier.KindStorage}, // not that a blob is missing
		{"404 Not Found", 404, dossier.KindStorage},
		{"PreconditionFailed", 412, dossier.KindConflict},
		{"", 412, dossier.KindConflict},
		{"InvalidPart", 400, dossier.KindCorrupt},
		{"AccessDenied", 403, dossier.KindStorage},
		{"", 401, dossier.KindStorage},
		{"PermanentRedirect", 301, dossier.KindStorage},
		{"", 507, dossier.KindStorage},
		{"QuotaExceeded", 403, dossier.KindStorage},
		{"NotImplemented", 501, dossier.KindUnsupported},
		{"SlowDown", 503, dossier.KindUnavailable},
		{"InternalError", 200, dossier.KindUnavailable},
		{"", 429, dossier.KindUnavailable},
		{"", 502, dossier.KindUnavailable},
		{"RequestTimeTooSkewed", 403, dossier.KindUnavailable},
		{"MalformedXML", 400, dossier.KindInternal},
	} {
		err := fault("doing", "a-key", fmt.Errorf("asked: %w", minio.ErrorResponse{Code: tt.code, StatusCode: tt.status}))
		if got := dossier.KindOf(err); got != tt.want {
			t.Errorf("%q (%d): kind %q, want %q", tt.code, tt.status, got, tt.want)
		}
	}
	for err, want := range map[error]dossier.Kind{
		&url.Error{Op: "Get", URL: "http://x", Err: io.EOF}: dossier.KindUnavailable,
		io.ErrUnexpectedEOF:          dossier.KindUnavailable,
		os.ErrDeadlineExceeded:       dossier.KindUnavailable,
		errors.New("something else"): dossier.KindInternal,
		dossier.Errorf(dossier.KindConflict, "doing", "a-key", "as it was"): dossier.KindConflict,
	} {
		if got := dossier.KindOf(fault("doing", "a-key", err)); got != want {
			t.Errorf("%v: kind %q, want %q", err, got, want)
		}
	}
}
