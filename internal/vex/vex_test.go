// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

const (
	index    = dossier.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	manifest = dossier.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// web is an image.
func web() Subject {
	return Subject{Digests: []dossier.Digest{index, manifest}, Names: []string{"registry.example/team/web"}, Tags: []string{"1.0"}, Platforms: []string{"linux/arm64/v8"}}
}

func finding(id string, p dossier.Package, aliases ...string) dossier.Finding {
	return dossier.Finding{ID: id, Aliases: aliases, Package: dossier.PackageAt{Package: p, Path: "app/package.json"}}
}

func lodash() dossier.Package {
	return dossier.Package{PURL: "pkg:npm/lodash@4.17.15", Type: "npm", Ecosystem: "npm", Name: "lodash", Version: "4.17.15"}
}

func libssl() dossier.Package {
	return dossier.Package{PURL: "pkg:deb/debian/libssl3@3.0.11-1%2Bb1?arch=amd64&distro=debian-12.5", Type: "deb", Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.11-1+b1",
		Source: "openssl", SourceVersion: "3.0.11-1"}
}

func rhel() dossier.Package {
	return dossier.Package{PURL: "pkg:rpm/redhat/openssl-libs@3.0.7-27.el9?arch=x86_64&distro=rhel-9.3&epoch=1", Type: "rpm", Ecosystem: "Red Hat:9", Name: "openssl-libs", Version: "1:3.0.7-27.el9",
		Source: "openssl", SourceVersion: "1:3.0.7-27.el9"}
}

// openVEX is a document with one statement about products.
func openVEX(products, rest string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/vex/1","author":"Example","timestamp":"2026-01-02T03:04:05Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2024-1","aliases":["GHSA-1"]},"products":[` + products + `],` + rest + `}]}`
}

const unaffected = `"status":"not_affected","justification":"vulnerable_code_not_present"`

func csafDoc(tree, vulnerabilities string) string {
	return `{"document":{"category":"csaf_vex","csaf_version":"2.0","publisher":{"name":"Red Hat"},"tracking":{"id":"X-1","current_release_date":"2026-01-02T03:04:05Z"}},
		"product_tree":` + tree + `,"vulnerabilities":[` + vulnerabilities + `]}`
}

const redhatTree = `{"branches":[{"branches":[
	{"product":{"product_id":"rhel8","product_identification_helper":{"cpe":"cpe:/a:redhat:enterprise_linux:8::appstream"}}},
	{"product":{"product_id":"rhel9","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
	{"product":{"product_id":"phone"}},
	{"product":{"product_id":"openssl","product_identification_helper":{"purl":"pkg:rpm/redhat/openssl?arch=src"}}}]}],
	"relationships":[
	{"full_product_name":{"product_id":"8:openssl"},"product_reference":"openssl","relates_to_product_reference":"rhel8"},
	{"full_product_name":{"product_id":"9:openssl"},"product_reference":"openssl","relates_to_product_reference":"rhel9"},
	{"full_product_name":{"product_id":"p:openssl"},"product_reference":"openssl","relates_to_product_reference":"phone"}],
	"product_groups":[{"group_id":"all","product_ids":["8:openssl","9:openssl"]}]}`

func cycloneDX(component, affects, analysis string) string {
	return `{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"timestamp":"2026-01-02T03:04:05Z","authors":[{"name":"Example"}]` + component + `},
		"components":[{"bom-ref":"l","type":"library","name":"lodash","purl":"pkg:npm/lodash@4.17.15"}],
		"vulnerabilities":[{"id":"CVE-2024-1","references":[{"id":"GHSA-1"}],"analysis":` + analysis + `,"affects":[` + affects + `]}]}`
}

// TestProducts says which findings the first statement of a document is about.
func TestProducts(t *testing.T) {
	notAffected := `{"state":"not_affected","justification":"code_not_reachable"}`
	for _, tt := range []struct {
		name, document string
		about          string // of lodash, libssl and rhel
	}{
		{"a package", openVEX(`{"@id":"pkg:npm/lodash@4.17.15"}`, unaffected), "lodash"},
		{"a package of any version", openVEX(`{"@id":"pkg:npm/lodash"}`, unaffected), "lodash"},
		{"another version", openVEX(`{"@id":"pkg:npm/lodash@4.17.16"}`, unaffected), ""},
		{"another namespace", openVEX(`{"@id":"pkg:npm/%40x/lodash"}`, unaffected), ""},
		{"another type", openVEX(`{"@id":"pkg:pypi/lodash"}`, unaffected), ""},
		{"by identifiers", openVEX(`{"@id":"https://example.org/p","identifiers":{"purl":"pkg:npm/lodash"}}`, unaffected), "lodash"},
		{"a file name", openVEX(`{"@id":"lodash-4.17.15.tgz"}`, unaffected), ""},
		{"nothing", openVEX(``, unaffected), ""},
		{"the whole image", openVEX(`{"@id":"pkg:oci/web@sha256%3A`+index.Hex()+`?repository_url=registry.example/team/web"}`, unaffected), "lodash libssl rhel"},
		{"the image of any version", openVEX(`{"@id":"pkg:oci/web?repository_url=registry.example/team/web"}`, unaffected), "lodash libssl rhel"},
		{"where the image lies", openVEX(`{"@id":"pkg:oci/web?repository_url=https://registry.example/team"}`, unaffected), "lodash libssl rhel"},
		{"an image of that name elsewhere", openVEX(`{"@id":"pkg:oci/web?repository_url=other.example/team/web"}`, unaffected), ""},
		{"another image", openVEX(`{"@id":"pkg:oci/web@sha256%3A`+strings.Repeat("3", 64)+`"}`, unaffected), ""},
		{"the bytes, of another name", openVEX(`{"@id":"pkg:oci/renamed@sha256%3A`+manifest.Hex()+`"}`, unaffected), "lodash libssl rhel"},
		{"another architecture", openVEX(`{"@id":"pkg:oci/web?arch=amd64"}`, unaffected), ""},
		{"this architecture and tag", openVEX(`{"@id":"pkg:oci/web?arch=arm64&tag=1.0"}`, unaffected), "lodash libssl rhel"},
		{"another tag", openVEX(`{"@id":"pkg:oci/web?tag=2.0"}`, unaffected), ""},
		{"by hash", openVEX(`{"@id":"https://example.org/web","hashes":{"sha-256":"`+index.Hex()+`"}}`, unaffected), "lodash libssl rhel"},
		{"another hash", openVEX(`{"@id":"pkg:oci/web","hashes":{"sha-256":"`+strings.Repeat("3", 64)+`"}}`, unaffected), ""},
		{"a package in the image", openVEX(`{"@id":"`+string(index)+`","subcomponents":[{"@id":"pkg:npm/lodash"}]}`, unaffected), "lodash"},
		{"a package in another image", openVEX(`{"@id":"sha256:`+strings.Repeat("3", 64)+`","subcomponents":[{"@id":"pkg:npm/lodash"}]}`, unaffected), ""},
		{"a package in a program", openVEX(`{"@id":"pkg:golang/example.com/app","subcomponents":[{"@id":"pkg:npm/lodash"}]}`, unaffected), ""},
		{"parts that name nothing", openVEX(`{"@id":"`+string(index)+`","subcomponents":[{"@id":"x"}]}`, unaffected), ""},
		{"version 0.0.1", strings.Replace(openVEX(`"pkg:npm/lodash"`, unaffected), `{"name":"CVE-2024-1","aliases":["GHSA-1"]}`, `"CVE-2024-1"`, 1), "lodash"},
		{"a package of Debian", openVEX(`{"@id":"pkg:deb/debian/libssl3@3.0.11-1%2Bb1?arch=amd64&distro=debian-12"}`, unaffected), "libssl"},
		{"of another release", openVEX(`{"@id":"pkg:deb/debian/libssl3?distro=debian-1"}`, unaffected), ""},
		{"of a release by its codename", openVEX(`{"@id":"pkg:deb/debian/libssl3?distro=bookworm"}`, unaffected), ""},
		{"its source", openVEX(`{"@id":"pkg:deb/debian/openssl@3.0.11-1?arch=source"}`, unaffected), "libssl"},
		{"its source at another version", openVEX(`{"@id":"pkg:deb/debian/openssl@3.0.11-2"}`, unaffected), ""},
		{"an older epoch", openVEX(`{"@id":"pkg:rpm/redhat/openssl-libs@3.0.7-27.el9"}`, unaffected), ""},
		{"the epoch as a qualifier", openVEX(`{"@id":"pkg:rpm/redhat/openssl-libs@3.0.7-27.el9?epoch=1"}`, unaffected), "rhel"},

		{"CSAF, of the release", csafDoc(redhatTree, `{"cve":"CVE-2024-1","product_status":{"known_not_affected":["9:openssl"]},"flags":[{"label":"vulnerable_code_not_present","group_ids":["all"]}]}`), "rhel"},
		{"CSAF, of another release", csafDoc(redhatTree, `{"cve":"CVE-2024-1","product_status":{"known_not_affected":["8:openssl"]},"flags":[{"label":"vulnerable_code_not_present"}]}`), ""},
		{"CSAF, of who knows what", csafDoc(redhatTree, `{"cve":"CVE-2024-1","product_status":{"known_not_affected":["p:openssl"]},"flags":[{"label":"vulnerable_code_not_present"}]}`), ""},
		{"CSAF, a package", csafDoc(`{"full_product_names":[{"product_id":"l","product_identification_helper":{"purl":"pkg:npm/lodash@4.17.15"}}]}`,
			`{"cve":"CVE-2024-1","product_status":{"fixed":["l"]}}`), "lodash"},
		{"CSAF, an image by hash", csafDoc(`{"full_product_names":[{"product_id":"i","product_identification_helper":{"hashes":[{"file_hashes":[{"algorithm":"sha256","value":"`+index.Hex()+`"}]}]}}]}`,
			`{"cve":"CVE-2024-1","product_status":{"fixed":["i"]}}`), "lodash libssl rhel"},

		{"CycloneDX, a component", cycloneDX("", `{"ref":"l"}`, notAffected), "lodash"},
		{"CycloneDX, a link", cycloneDX("", `{"ref":"urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg%3Anpm%2Flodash%404.17.15"}`, notAffected), "lodash"},
		{"CycloneDX, versions", cycloneDX("", `{"ref":"pkg:npm/lodash","versions":[{"version":"4.17.14"},{"version":"4.17.15"}]}`, notAffected), "lodash"},
		{"CycloneDX, other versions", cycloneDX("", `{"ref":"pkg:npm/lodash","versions":[{"version":"4.17.14"}]}`, notAffected), ""},
		{"CycloneDX, a range", cycloneDX("", `{"ref":"pkg:npm/lodash","versions":[{"range":"vers:npm/<5"}]}`, notAffected), ""},
		{"CycloneDX, in the image", cycloneDX(`,"component":{"bom-ref":"r","type":"container","version":"`+string(manifest)+`"}`, `{"ref":"l"}`, notAffected), "lodash"},
		{"CycloneDX, in another image", cycloneDX(`,"component":{"bom-ref":"r","type":"container","version":"sha256:`+strings.Repeat("3", 64)+`"}`, `{"ref":"l"}`, notAffected), ""},
		{"CycloneDX, the image", cycloneDX(`,"component":{"bom-ref":"r","type":"container","purl":"pkg:oci/web@sha256%3A`+index.Hex()+`"}`, `{"ref":"r"}`, notAffected), "lodash libssl rhel"},
		{"CycloneDX, nothing", cycloneDX("", `{"ref":"x"}`, notAffected), ""},
	} {
		d, err := Parse([]byte(tt.document), Limits{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for name, p := range map[string]dossier.Package{"lodash": lodash(), "libssl": libssl(), "rhel": rhel()} {
			rules := Rules{Documents: []Source{{Document: d, Where: "vex.json"}}}
			if len(rules.of(web(), finding("CVE-2024-1", p))) > 0 {
				got = append(got, name)
			}
			if len(rules.of(web(), finding("CVE-2024-2", p))) > 0 {
				t.Errorf("%s: it is about another vulnerability", tt.name)
			}
		}
		if diff := cmp.Diff(strings.Fields(tt.about), ordered(got)); diff != "" {
			t.Errorf("%s: about (-want +got):\n%s", tt.name, diff)
		}
	}
}

func ordered(list []string) []string {
	out := []string{}
	for _, name := range []string{"lodash", "libssl", "rhel"} {
		for _, l := range list {
			if l == name {
				out = append(out, l)
			}
		}
	}
	return out
}

// TestProductOfNoImage: what is said of an image concerns no directory.
func TestProductOfNoImage(t *testing.T) {
	for document, want := range map[string]int{
		openVEX(`{"@id":"pkg:oci/web"}`, unaffected):                                            0,
		openVEX(`{"@id":"pkg:oci/web","subcomponents":[{"@id":"pkg:npm/lodash"}]}`, unaffected): 0,
		openVEX(`{"@id":"pkg:npm/lodash"}`, unaffected):                                         1,
	} {
		d, err := Parse([]byte(document), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := (Rules{Documents: []Source{{Document: d}}}).of(Subject{}, finding("CVE-2024-1", lodash())); len(got) != want {
			t.Errorf("%s: %d statements, want %d", document, len(got), want)
		}
	}
}

// TestStatements: what documents say, in one form.
func TestStatements(t *testing.T) {
	for name, tt := range map[string]struct {
		document string
		want     []string
	}{
		"OpenVEX": {openVEX(`{"@id":"pkg:npm/a"}`, unaffected+`,"impact_statement":"Not called."`), []string{"CVE-2024-1,GHSA-1 not_affected vulnerable_code_not_present Not called. 2026-01-02"}},
		"OpenVEX, its own time": {openVEX(`{"@id":"pkg:npm/a"}`, `"status":"affected","action_statement":"Update.","status_notes":"As seen.","timestamp":"2025-01-01T00:00:00Z"`),
			[]string{"CVE-2024-1,GHSA-1 affected  As seen. 2025-01-01"}},
		"CSAF": {csafDoc(redhatTree, `{"cve":"CVE-2024-1","ids":[{"text":"GHSA-1"}],"product_status":{"known_affected":["8:openssl"],"known_not_affected":["9:openssl","openssl"],"fixed":["nothing"]},
			"flags":[{"label":"component_not_present","product_ids":["9:openssl"]},{"label":"vulnerable_code_not_present"}],"threats":[{"category":"impact","details":"None."}]}`), []string{
			"CVE-2024-1,GHSA-1 affected   2026-01-02", "CVE-2024-1,GHSA-1 not_affected component_not_present None. 2026-01-02", "CVE-2024-1,GHSA-1 not_affected vulnerable_code_not_present None. 2026-01-02",
		}},
		"CycloneDX":                     {cycloneDX("", `{"ref":"l"}`, `{"state":"false_positive","detail":"No.","lastUpdated":"2026-03-01T00:00:00Z"}`), []string{"CVE-2024-1,GHSA-1 not_affected false_positive No. 2026-03-01"}},
		"CycloneDX, resolved":           {cycloneDX("", `{"ref":"l"}`, `{"state":"resolved"}`), []string{"CVE-2024-1,GHSA-1 fixed   2026-01-02"}},
		"CycloneDX, exploitable":        {cycloneDX("", `{"ref":"l"}`, `{"state":"exploitable"}`), []string{"CVE-2024-1,GHSA-1 affected   2026-01-02"}},
		"CycloneDX, in triage":          {cycloneDX("", `{"ref":"l"}`, `{"state":"in_triage"}`), []string{"CVE-2024-1,GHSA-1 under_investigation   2026-01-02"}},
		"CycloneDX, nobody judged":      {cycloneDX("", `{"ref":"l"}`, `null`), nil},
		"in a statement in an envelope": {envelope(openVEX(`{"@id":"pkg:npm/a"}`, `"status":"fixed"`)), []string{"CVE-2024-1,GHSA-1 fixed   2026-01-02"}},
	} {
		d, err := Parse([]byte(tt.document), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, s := range d.Statements {
			got = append(got, fmt.Sprintf("%s %s %s %s %s", strings.Join(s.Names, ","), s.Status, s.Justification, s.Reason, s.At.Format(time.DateOnly)))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if d.Author == "" || d.Version == "" || d.SHA256 != dossier.FromBytes([]byte(tt.document)) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func envelope(payload string) string {
	statement := `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://openvex.dev/ns/v0.2.0","predicate":` + payload + `}`
	return `{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(statement)) + `"}`
}

func TestParseRefuses(t *testing.T) {
	deep := `{"product":{"product_id":"x"}}`
	for range 40 {
		deep = `{"branches":[` + deep + `]}`
	}
	for name, tt := range map[string]struct {
		document string
		limits   Limits
		want     dossier.Kind
	}{
		"nothing":                 {"", Limits{}, dossier.KindUnsupported},
		"other JSON":              {`{"a":1}`, Limits{}, dossier.KindUnsupported},
		"cut off":                 {openVEX("", unaffected)[:90], Limits{}, dossier.KindInvalid},
		"a field of another type": {`{"@context":"https://openvex.dev/ns","statements":5}`, Limits{}, dossier.KindInvalid},
		"no status":               {openVEX(`{"@id":"pkg:npm/a"}`, `"status":"harmless"`), Limits{}, dossier.KindInvalid},
		"no reason":               {openVEX(`{"@id":"pkg:npm/a"}`, `"status":"not_affected"`), Limits{}, dossier.KindInvalid},
		"no vulnerability":        {strings.Replace(openVEX(`{"@id":"pkg:npm/a"}`, unaffected), `{"name":"CVE-2024-1","aliases":["GHSA-1"]}`, `{}`, 1), Limits{}, dossier.KindInvalid},
		"no reason, CSAF":         {csafDoc(redhatTree, `{"cve":"CVE-2024-1","product_status":{"known_not_affected":["9:openssl"]}}`), Limits{}, dossier.KindInvalid},
		"no state":                {cycloneDX("", `{"ref":"l"}`, `{"state":"odd"}`), Limits{}, dossier.KindInvalid},
		"too large":               {openVEX("", unaffected), Limits{Document: 100}, dossier.KindLimit},
		"too many products":       {openVEX(`{"@id":"pkg:npm/a"},{"@id":"pkg:npm/b"}`, unaffected), Limits{Products: 1}, dossier.KindLimit},
		"too deep":                {csafDoc(`{"branches":[`+deep+`]}`, ``), Limits{}, dossier.KindLimit},
	} {
		if d, err := Parse([]byte(tt.document), tt.limits); dossier.KindOf(err) != tt.want {
			t.Errorf("%s: got %+v, %v; want an error of kind %q", name, d, err, tt.want)
		}
	}
}

// TestJudge: what is said last counts, and nothing is lost.
func TestJudge(t *testing.T) {
	at := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	say := func(status Status, day int, where string) Source {
		return Source{Document: Document{Format: "OpenVEX", Author: where, Statements: []Statement{{
			Names: []string{"GHSA-1"}, Products: []Product{{Component: Identifier{PURL: "pkg:npm/lodash"}}}, Status: status, Justification: "why", At: at.AddDate(0, 0, -day),
		}}}, Where: where + ".json"}
	}
	ignore := func(until time.Time) Ignore {
		return Ignore{Vulnerability: "cve-2024-1", Package: "pkg:npm/lodash@4.17.15", Path: "app/*", Owner: "me", Reason: "why", Expires: until, File: "ignore.yaml", Line: 2}
	}
	for name, tt := range map[string]struct {
		rules Rules
		by    string // who suppresses it; "-": nobody
		notes string
	}{
		"nothing is said":          {Rules{}, "-", ""},
		"not affected":             {Rules{Documents: []Source{say(NotAffected, 1, "a")}}, "a.json not_affected", ""},
		"fixed":                    {Rules{Documents: []Source{say(Fixed, 1, "a")}}, "a.json fixed", ""},
		"affected":                 {Rules{Documents: []Source{say(Affected, 1, "a")}}, "-", "a.json: affected, says a"},
		"the later counts":         {Rules{Documents: []Source{say(NotAffected, 2, "a"), say(Affected, 1, "b")}}, "-", "b.json: affected, says b; a.json: not_affected, says a"},
		"the later counts, unlike": {Rules{Documents: []Source{say(NotAffected, 1, "a"), say(Affected, 2, "b")}}, "a.json not_affected", ""},
		"at the same time":         {Rules{Documents: []Source{say(NotAffected, 1, "a"), say(Investigating, 1, "b")}}, "-", "b.json: under_investigation, says b; a.json: not_affected, says a"},
		"two say so":               {Rules{Documents: []Source{say(NotAffected, 2, "a"), say(Fixed, 1, "b")}}, "b.json fixed, a.json not_affected", ""},
		"ignored":                  {Rules{Ignores: []Ignore{ignore(at.Add(1))}}, "ignore.yaml:2 ignored", ""},
		"ignored, and affected":    {Rules{Documents: []Source{say(Affected, 1, "a")}, Ignores: []Ignore{ignore(at.Add(1))}}, "ignore.yaml:2 ignored", ""},
		"ignored no more":          {Rules{Ignores: []Ignore{ignore(at)}}, "-", "ignore.yaml:2: ignoring cve-2024-1 expired on 2026-02-01; ask me"},
		"ignored, not affected":    {Rules{Documents: []Source{say(NotAffected, 1, "a")}, Ignores: []Ignore{ignore(at.Add(1))}}, "a.json not_affected, ignore.yaml:2 ignored", ""},
	} {
		list := dossier.FindingList{Findings: []dossier.Finding{finding("CVE-2024-1", lodash(), "GHSA-1"), finding("CVE-2024-1", libssl()), finding("CVE-2024-9", lodash())}}
		tt.rules.Judge(&list, web(), at)
		if len(list.Findings)+len(list.Suppressed) != 3 {
			t.Errorf("%s: %d findings and %d suppressed, want 3 together", name, len(list.Findings), len(list.Suppressed))
			continue
		}
		by, notes := "-", list.Notes
		for _, s := range list.Suppressed {
			var all []string
			for _, one := range s.By {
				all = append(all, one.Source+" "+one.Status)
			}
			by = strings.Join(all, ", ")
		}
		for _, f := range list.Findings {
			notes = append(notes, f.Notes...)
		}
		if by != tt.by || strings.Join(notes, "; ") != tt.notes {
			t.Errorf("%s: by %q, notes %q; want %q, %q", name, by, notes, tt.by, tt.notes)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		openVEX(`{"@id":"`+string(index)+`","subcomponents":[{"@id":"pkg:npm/lodash"}]}`, unaffected), openVEX(`"pkg:oci/web?arch=arm64&tag=1.0"`, unaffected),
		csafDoc(redhatTree, `{"cve":"CVE-2024-1","product_status":{"known_not_affected":["9:openssl"]},"flags":[{"label":"x","group_ids":["all"]}]}`),
		cycloneDX(`,"component":{"bom-ref":"r","type":"container","purl":"pkg:oci/web"}`, `{"ref":"l","versions":[{"version":"1"}]},{"ref":"r"}`, `{"state":"not_affected"}`), envelope("{}"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b, Limits{Document: 1 << 20, Statements: 1000, Products: 10_000})
		if err != nil {
			if kind := dossier.KindOf(err); kind != dossier.KindInvalid && kind != dossier.KindUnsupported && kind != dossier.KindLimit {
				t.Errorf("an error of kind %q: %v", kind, err)
			}
			return
		}
		list := dossier.FindingList{Findings: []dossier.Finding{finding("CVE-2024-1", lodash()), finding("CVE-2024-1", rhel())}}
		Rules{Documents: []Source{{Document: d, Where: "x"}}}.Judge(&list, web(), time.Unix(0, 0))
		if len(list.Findings)+len(list.Suppressed) != 2 {
			t.Errorf("%d findings and %d suppressed", len(list.Findings), len(list.Suppressed))
		}
	})
}
