// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

var (
	someDigest = dossier.FromBytes([]byte("x"))
	someUpload = strings.Repeat("A", 26)
)

func TestParse(t *testing.T) {
	d := string(someDigest)
	tests := []struct {
		method, url string
		want        Request // when code is empty
		code        Code
	}{
		{"GET", "/v2/", Request{Kind: KindPing}, ""},
		{"GET", "/v2", Request{Kind: KindPing}, ""},
		{"POST", "/v2/", Request{}, CodeUnsupported},
		{"GET", "/v2/_catalog?n=5&last=a", Request{Kind: KindCatalog, N: 5, Last: "a"}, ""},
		{"GET", "/v2/a/tags/list", Request{Kind: KindTagList, Repository: "a", N: -1}, ""},
		{"GET", "/v2/a/tags/list?n=0", Request{Kind: KindTagList, Repository: "a", N: 0}, ""},
		{"GET", "/v2/a/tags/list?n=-1", Request{}, CodePaginationInvalid},
		{"GET", "/v2/a/tags/list?n=99999999999999999999", Request{}, CodePaginationInvalid},
		{"GET", "/v2/a/tags/list?last=%00", Request{}, CodePaginationInvalid},
		{"DELETE", "/v2/a/tags/list", Request{}, CodeUnsupported},
		{"GET", "/v2/a/b/blobs/" + d, Request{Kind: KindBlobGet, Repository: "a/b", Digest: someDigest}, ""},
		{"HEAD", "/v2/blobs/blobs/" + d, Request{Kind: KindBlobGet, Repository: "blobs", Digest: someDigest}, ""},
		{"DELETE", "/v2/a/blobs/" + d, Request{Kind: KindBlobDelete, Repository: "a", Digest: someDigest}, ""},
		{"PUT", "/v2/a/blobs/" + d, Request{}, CodeUnsupported},
		{"GET", "/v2/a/blobs/sha256:12", Request{}, CodeDigestInvalid},
		{"GET", "/v2/a/blobs/md5:" + strings.Repeat("0", 32), Request{}, CodeDigestInvalid},
		{"GET", "/v2/a/manifests/latest", Request{Kind: KindManifestGet, Repository: "a", Tag: "latest"}, ""},
		{"GET", "/v2/a/manifests/" + d, Request{Kind: KindManifestGet, Repository: "a", Digest: someDigest}, ""},
		{"GET", "/v2/a/manifests/" + url.PathEscape(d), Request{Kind: KindManifestGet, Repository: "a", Digest: someDigest}, ""},
		{"PUT", "/v2/a/manifests/" + d + "?tag=x&tag=y", Request{Kind: KindManifestPut, Repository: "a", Digest: someDigest, Tags: []string{"x", "y"}}, ""},
		{"PUT", "/v2/a/manifests/" + d + "?tag=-x", Request{}, CodeTagInvalid},
		{"PUT", "/v2/a/manifests/" + d + "?" + strings.Repeat("tag=x&", maxTags+1), Request{}, CodeTooManyTags},
		{"GET", "/v2/a/manifests/.hidden", Request{}, CodeTagInvalid},
		{"GET", "/v2/a/manifests/" + strings.Repeat("x", 129), Request{}, CodeTagInvalid},
		{"PATCH", "/v2/a/manifests/x", Request{}, CodeUnsupported},
		{"GET", "/v2/a/referrers/" + d + "?artifactType=x/y", Request{Kind: KindReferrers, Repository: "a", Digest: someDigest, ArtifactType: "x/y", N: -1}, ""},
		{"GET", "/v2/a/referrers/latest", Request{}, CodeDigestInvalid},
		{"POST", "/v2/a/blobs/uploads/", Request{Kind: KindUploadBegin, Repository: "a"}, ""},
		{"POST", "/v2/a/blobs/uploads", Request{Kind: KindUploadBegin, Repository: "a"}, ""},
		{"POST", "/v2/a/blobs/uploads/?mount=" + d + "&from=b", Request{Kind: KindUploadBegin, Repository: "a", Mount: someDigest, From: "b"}, ""},
		{"POST", "/v2/a/blobs/uploads/?mount=" + d + "&from=../b", Request{}, CodeNameInvalid},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", Request{Kind: KindUploadBegin, Repository: "a", Algorithm: "sha512"}, ""},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", Request{}, CodeDigestInvalid},
		{"GET", "/v2/a/blobs/uploads/", Request{}, CodeUnsupported},
		{"PATCH", "/v2/a/blobs/uploads/" + someUpload, Request{Kind: KindUploadChunk, Repository: "a", Upload: someUpload}, ""},
		{"PUT", "/v2/a/blobs/uploads/" + someUpload + "?digest=" + d, Request{Kind: KindUploadEnd, Repository: "a", Upload: someUpload, Digest: someDigest}, ""},
		{"PUT", "/v2/a/blobs/uploads/" + someUpload, Request{}, CodeDigestInvalid},
		{"PATCH", "/v2/a/blobs/uploads/..", Request{}, CodeUploadUnknown},
		{"PATCH", "/v2/a/blobs/uploads/x", Request{}, CodeUploadUnknown},
		{"GET", "/v2/A/tags/list", Request{}, CodeNameInvalid},
		{"GET", "/v2/../etc/tags/list", Request{}, CodeNameInvalid},
		{"GET", "/v2/a//b/tags/list", Request{}, CodeNameInvalid},
		{"GET", "/v2/a%00b/tags/list", Request{}, CodeNameInvalid},
		{"GET", "/v2/" + strings.Repeat("a", 256) + "/tags/list", Request{}, CodeNameInvalid},
		{"GET", "/v2/tags/list", Request{}, CodeNotFound},
		{"GET", "/v2/a", Request{}, CodeNotFound},
		{"GET", "/v2/a/manifests", Request{}, CodeNotFound},
		{"GET", "/v1/", Request{}, CodeNotFound},
		{"GET", "/v2/a/tags/list?n=%zz", Request{}, CodeNameInvalid},
		{"GET", "/v2/a/tags/list?x=" + strings.Repeat("x", maxQuery), Request{}, CodeTooManyTags},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(tt.method, u)
		switch {
		case tt.code != "":
			if err == nil || codeOf(err) != tt.code {
				t.Errorf("%s %s: %+v, %v; want %s", tt.method, tt.url, got, err, tt.code)
			}
		case err != nil:
			t.Errorf("%s %s: %v", tt.method, tt.url, err)
		default:
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.url, diff)
			}
		}
	}
}

// FuzzParse checks that whatever is parsed is well-formed.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"/v2/", "/v2/a/tags/list?n=1&last=x", "/v2/a/b/blobs/" + string(someDigest), "/v2/a/manifests/x?tag=y",
		"/v2/a/blobs/uploads/?mount=x&from=y", "/v2/a/blobs/uploads/" + someUpload, "/v2/a/../b/manifests/x", "/v2/a/referrers/x",
		"/v2/a/manifests/x?ns=docker.io", "/v2/a/tags/list?ns=%2f%2f",
	} {
		f.Add("GET", s)
		f.Add("PUT", s)
		f.Add("POST", s)
	}
	f.Fuzz(func(t *testing.T, method, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		q, err := Parse(method, u)
		if err != nil {
			if status := statuses[codeOf(err)]; status < 400 || status > 499 {
				t.Errorf("%s %s: %v has the status %d", method, s, err, status)
			}
			return
		}
		if methods[q.Kind] == nil || q.Kind.String() == "" {
			t.Errorf("nothing serves %+v", q)
		}
		if strings.ContainsAny(q.Namespace, "/@?#%\\ \n") {
			t.Errorf("namespace %q", q.Namespace)
		}
		for _, path := range []string{q.Repository, q.From} {
			if path != "" && CheckRepository(path) != nil || strings.Contains(path, "..") {
				t.Errorf("repository %q", path)
			}
		}
		for _, d := range []dossier.Digest{q.Digest, q.Mount} {
			if _, err := dossier.ParseDigest(string(d)); d != "" && err != nil {
				t.Errorf("digest %q", d)
			}
		}
		for _, tag := range append(q.Tags, q.Tag) {
			if tag != "" && checkTag(tag) != nil {
				t.Errorf("tag %q", tag)
			}
		}
		if q.Upload != "" && !uploadPattern.MatchString(q.Upload) || q.N < -1 {
			t.Errorf("%+v", q)
		}
	})
}

func TestContentRange(t *testing.T) {
	tests := []struct {
		header       string
		size, length int64
		want         int64
		code         Code
	}{
		{"", 5, 7, -1, ""},
		{"0-9", 0, 10, 10, ""},
		{"10-19", 10, -1, 10, ""},
		{"bytes 10-19/*", 10, 10, 10, ""},
		{"bytes=10-19", 10, 10, 10, ""},
		{"0-9", 5, 10, 0, CodeRangeInvalid},
		{"10-19", 5, 10, 0, CodeRangeInvalid},
		{"9-0", 9, 10, 0, CodeRangeInvalid},
		{"0-9", 0, 11, 0, CodeSizeInvalid},
		{"-9", 0, 10, 0, CodeSizeInvalid},
		{"0-", 0, 10, 0, CodeSizeInvalid},
		{"0-99999999999999999999", 0, 10, 0, CodeSizeInvalid},
	}
	for _, tt := range tests {
		got, err := contentRange(tt.header, tt.size, tt.length)
		if code := Code(""); err != nil {
			code = codeOf(err)
			if code != tt.code {
				t.Errorf("%+v: %v", tt, err)
			}
		} else if got != tt.want || tt.code != "" {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("0-9", int64(0), int64(10))
	f.Add("bytes 5-9/10", int64(5), int64(-1))
	f.Fuzz(func(t *testing.T, header string, size, length int64) {
		n, err := contentRange(header, size, length)
		if err == nil && n < 1 && header != "" {
			t.Errorf("%q: %d bytes", header, n)
		}
	})
}

// TestTables checks that every kind is served and every code has a status.
func TestTables(t *testing.T) {
	for kind := KindPing; kind <= KindCatalog; kind++ {
		if methods[kind] == nil {
			t.Errorf("nothing serves %s", kind)
		}
	}
	if len(methods) != int(KindCatalog)+1 {
		t.Errorf("%d methods", len(methods))
	}
	for kind, code := range kinds {
		if statuses[code] == 0 {
			t.Errorf("%s is %s, which has no status", kind, code)
		}
	}
	for code, status := range statuses {
		if http.StatusText(status) == "" {
			t.Errorf("%s has the status %d", code, status)
		}
	}
}
