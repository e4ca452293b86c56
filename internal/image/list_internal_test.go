// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"net/http"
	"testing"

	"dossier.dev/dossier"
)

func FuzzParseReferrers(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"annotations":{"a":"b"}}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"x","size":-1}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseReferrers(b)
		if err != nil && len(list) > 0 {
			t.Error("a list and an error")
		}
		for _, r := range list {
			if _, err := dossier.ParseDigest(string(r.Digest)); err != nil || r.Size < 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add(`<https://registry.example/v2/a/tags/list?last=b&n=2>; rel="next"`, "bytes 5-9/10")
	f.Add(`</v2/a/tags/list?last=b>; rel=next`, "bytes */10")
	f.Add(`<`, "bytes -1-")
	f.Fuzz(func(t *testing.T, link, contentRange string) {
		if q := nextPage(http.Header{"Link": {link}}); q != nil && len(q) == 0 {
			t.Error("a next page without a place")
		}
		if n := rangeStart(http.Header{"Content-Range": {contentRange}}); n < -1 {
			t.Errorf("starts at %d", n)
		}
	})
}
