// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package bill

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

const (
	spdx = `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","creationInfo":{"creators":["Organization: Acme","Tool: syft-1.2"]},"packages":[
		{"name":"image","primaryPackagePurpose":"CONTAINER","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:oci/image@sha256:00"}]},
		{"name":"bash","externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a:x"},{"referenceType":"purl","referenceLocator":"pkg:deb/debian/bash@5.2?arch=amd64"}]},
		{"name":"bash","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/debian/bash@5.2?arch=amd64"}]},
		{"name":"who knows"}]}`
	cyclone = `{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"tools":{"components":[{"type":"application","name":"trivy","version":"0.50"}]}},"components":[
		{"type":"operating-system","name":"debian"},{"type":"library","name":"a","purl":"pkg:npm/a@1","components":[{"type":"library","name":"b","purl":"pkg:npm/%40s/b@2"}]},{"type":"library","name":"c"}]}`
	cycloneOld = `{"bomFormat":"CycloneDX","specVersion":"1.4","metadata":{"tools":[{"vendor":"x","name":"cdxgen","version":"7"}]},"components":[{"type":"library","name":"a","purl":"pkg:npm/a@1"}]}`
	syft       = `{"artifacts":[{"name":"a","purl":"pkg:pypi/a@1"}],"descriptor":{"name":"syft","version":"1.2"},"schema":{"version":"16","url":"https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-16.json"}}`
)

func statement(predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[{"name":"x","digest":{"sha256":"` +
		dossier.FromBytes(nil).Hex() + `"}}],"predicate":` + predicate + `}`
}

func envelope(payload string) string {
	return `{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","signatures":[]}`
}

func purls(b Bill) string {
	var out []string
	for _, p := range b.Packages {
		out = append(out, p.PURL)
	}
	return strings.Join(out, " ")
}

func TestParse(t *testing.T) {
	quoted, err := json.Marshal(spdx)
	if err != nil {
		t.Fatal(err)
	}
	bash := "pkg:deb/debian/bash@5.2?arch=amd64"
	for name, tt := range map[string]struct {
		document, format, tools, packages string
		unnamed, subjects                 int
	}{
		"SPDX":                    {spdx, "SPDX 2.3", "syft-1.2", bash, 1, 0},
		"CycloneDX":               {cyclone, "CycloneDX 1.5", "trivy 0.50", "pkg:npm/%40s/b@2 pkg:npm/a@1", 1, 0},
		"CycloneDX of old":        {cycloneOld, "CycloneDX 1.4", "cdxgen 7", "pkg:npm/a@1", 0, 0},
		"Syft":                    {syft, "Syft JSON", "syft 1.2", "pkg:pypi/a@1", 0, 0},
		"statement":               {statement(spdx), "SPDX 2.3", "syft-1.2", bash, 1, 1},
		"envelope":                {envelope(statement(cyclone)), "CycloneDX 1.5", "trivy 0.50", "pkg:npm/%40s/b@2 pkg:npm/a@1", 1, 1},
		"bundle":                  {`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":` + envelope(statement(spdx)) + `}`, "SPDX 2.3", "syft-1.2", bash, 1, 1},
		"predicate as text":       {envelope(statement(string(quoted))), "SPDX 2.3", "syft-1.2", bash, 1, 1},
		"predicate in Data":       {statement(`{"Data":` + spdx + `}`), "SPDX 2.3", "syft-1.2", bash, 1, 1},
		"predicate as text in it": {statement(`{"Data":` + string(quoted) + `}`), "SPDX 2.3", "syft-1.2", bash, 1, 1},
		"fields of other types":   {`{"spdxVersion":"SPDX-2.2","creationInfo":5,"packages":[{"externalRefs":"x"}]}`, "SPDX 2.2", "", "", 1, 0},
	} {
		b, err := Parse([]byte(tt.document), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.Format != tt.format || strings.Join(b.Tools, ",") != tt.tools || purls(b) != tt.packages || b.Unnamed != tt.unnamed || len(b.Subjects) != tt.subjects {
			t.Errorf("%s: got %+v, want %+v", name, b, tt)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	deep := `{"type":"library","name":"x"}`
	for range 40 {
		deep = `{"type":"library","name":"x","components":[` + deep + `]}`
	}
	wrapped := spdx
	for range 5 {
		wrapped = envelope(wrapped)
	}
	for name, tt := range map[string]struct {
		document string
		limits   Limits
		want     dossier.Kind
	}{
		"nothing":           {"", Limits{}, dossier.KindUnsupported},
		"tag-value":         {"SPDXVersion: SPDX-2.3\n", Limits{}, dossier.KindUnsupported},
		"XML":               {"<bom/>", Limits{}, dossier.KindUnsupported},
		"other JSON":        {`{"a":1}`, Limits{}, dossier.KindUnsupported},
		"SPDX 3":            {`{"spdxVersion":"SPDX-3.0"}`, Limits{}, dossier.KindUnsupported},
		"cut off":           {spdx[:100], Limits{}, dossier.KindInvalid},
		"bad payload":       {`{"payloadType":"x","payload":"%"}`, Limits{}, dossier.KindInvalid},
		"too large":         {spdx, Limits{Document: 100}, dossier.KindLimit},
		"too many":          {spdx, Limits{Packages: 1}, dossier.KindLimit},
		"too deep":          {`{"bomFormat":"CycloneDX","components":[` + deep + `]}`, Limits{}, dossier.KindLimit},
		"wrapped too often": {wrapped, Limits{}, dossier.KindUnsupported},
	} {
		if b, err := Parse([]byte(tt.document), tt.limits); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: got %+v, %v; want an error of kind %q", name, b, err, tt.want)
		}
	}
}

func TestKeysMeanTheSame(t *testing.T) {
	for _, pair := range [][2]string{
		{"pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-12", "pkg:deb/ubuntu/bash@5.2"},
		{"pkg:rpm/redhat/bash@5.1-2?epoch=1", "pkg:rpm/bash@1:5.1-2"},
		{"pkg:rpm/bash@5.1-2?epoch=0", "pkg:rpm/bash@5.1-2"},
		{"pkg:golang/golang.org/x/text@v0.3.5", "pkg:golang/golang.org/x/text@0.3.5"},
		{"pkg:golang/stdlib@1.26.1", "pkg:golang/stdlib@go1.26.1"},
		{"pkg:pypi/zope.interface@5", "pkg:pypi/Zope_Interface@5"},
		{"pkg:npm/%40scope/name@1", "pkg:npm/%40scope/name@1?source=x"},
	} {
		a, okA := KeyOf(pair[0])
		b, okB := KeyOf(pair[1])
		if a != b || !okA || !okB {
			t.Errorf("%v: %v and %v", pair, a, b)
		}
	}
	if k, ok := KeyOf("bash 5.2"); ok {
		t.Errorf("what is no package URL has the key %v", k)
	}
}

func TestCompare(t *testing.T) {
	var b Bill
	for _, purl := range []string{"pkg:npm/same@1", "pkg:npm/other@2", "pkg:npm/twice@1", "pkg:npm/twice@3", "pkg:npm/extra@1"} {
		k, _ := KeyOf(purl)
		b.Packages = append(b.Packages, Package{PURL: purl, Key: k})
	}
	got := fmt.Sprint(Compare(b, []string{"pkg:npm/same@1", "pkg:npm/other@1", "pkg:npm/twice@2", "pkg:npm/missing@1", "no purl"}))
	if diff := cmp.Diff("{1 [npm missing 1] [npm extra 1 npm twice 3] [[npm other 1 npm other 2] [npm twice 2 npm twice 1]]}", got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{spdx, cyclone, cycloneOld, syft, statement(spdx), envelope(statement(cyclone))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b, Limits{Document: 1 << 20, Packages: 1000})
		if err != nil {
			if kind := dossier.KindOf(err); kind != dossier.KindInvalid && kind != dossier.KindUnsupported && kind != dossier.KindLimit {
				t.Errorf("an error of kind %q: %v", kind, err)
			}
			return
		}
		if n := len(got.Listed()); n != len(got.Packages) {
			t.Errorf("%d of %d packages are listed", n, len(got.Packages))
		}
		d := Compare(got, strings.Fields(purls(got)))
		if len(d.Extra) > 0 && len(got.Packages) == 0 {
			t.Errorf("%+v differs from itself: %+v", got, d)
		}
	})
}
