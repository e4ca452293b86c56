// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// show writes records: "ID <- upstream", and for each package "ecosystem name:
// range state (note)".
func show(t *testing.T, records iter.Seq2[Record, error]) []string {
	t.Helper()
	out := []string{}
	for r, err := range records {
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %v", dossier.KindOf(err), err))
			continue
		}
		line := r.ID
		if len(r.Upstream) > 0 {
			line += " <- " + strings.Join(r.Upstream, " ")
		}
		if !r.Withdrawn.IsZero() {
			line += " withdrawn"
		}
		for _, x := range r.Ratings {
			line += " " + x.Score
		}
		out = append(out, line)
		for _, e := range r.Affected {
			line := "  " + e.Ecosystem + " " + e.Name + ":"
			for _, rg := range e.Ranges {
				for _, ev := range rg.Events {
					line += " " + ev.Introduced + ev.Fixed
				}
			}
			if len(e.Versions) > 0 {
				line += " =" + strings.Join(e.Versions, ",")
			}
			if e.Unreleased {
				line += " unreleased"
			}
			if e.State != "" {
				line += " " + string(e.State)
			}
			if e.Stream != "" {
				line += " of " + e.Stream
			}
			for _, x := range e.Ratings {
				line += " " + x.Score
			}
			if e.Note != "" {
				line += " (" + e.Note + ")"
			}
			if !e.Source {
				line += " binary"
			}
			out = append(out, line)
		}
	}
	return out
}

// converts checks what a converter makes, and that it makes the same twice.
func converts(t *testing.T, convert func([]byte, Limits) iter.Seq2[Record, error], document string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, show(t, convert([]byte(document), Limits{}))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	var first, second []string
	for range 3 {
		second = nil
		for r, err := range convert([]byte(document), Limits{}) {
			second = append(second, string(r.Bytes), fmt.Sprint(err))
		}
		if first != nil && !cmp.Equal(first, second) {
			t.Fatalf("a second time it is:\n%s", cmp.Diff(first, second))
		}
		first = second
	}
}

func TestConvertAlpine(t *testing.T) {
	converts(t, ConvertAlpine, `{"distroversion":"v3.20","reponame":"main","packages":[
		{"pkg":{"name":"openssl","secfixes":{"3.3.1-r0":["CVE-2024-0001","CVE-2024-0002 (+ regression fix)"],"0":["CVE-2024-0003"],"3.3.2-r0":["CVE-2024-0001"]}}},
		{"pkg":{"name":"xen","secfixes":{"4.18-r1":["CVE-2024-0004 XSA-1","XSA-2","CVE_2024-0005 CVE-2024-0006"]}}},
		{"pkg":{"name":"rust","secfixes":{"1.0-r0":["CVE-2024-0001","unknown"]}}}]}`,
		"ALPINE-CVE-2024-0001 <- CVE-2024-0001",
		"  Alpine:v3.20 openssl: 0 3.3.1-r0",
		"  Alpine:v3.20 openssl: 0 3.3.2-r0",
		"  Alpine:v3.20 rust: 0 1.0-r0",
		"ALPINE-CVE-2024-0002 <- CVE-2024-0002",
		"  Alpine:v3.20 openssl: 0 3.3.1-r0",
		"ALPINE-CVE-2024-0003 <- CVE-2024-0003",
		"  Alpine:v3.20 openssl: 0 0",
		"ALPINE-CVE-2024-0004 <- CVE-2024-0004 XSA-1",
		"  Alpine:v3.20 xen: 0 4.18-r1",
		"ALPINE-CVE-2024-0005 <- CVE-2024-0005",
		"  Alpine:v3.20 xen: 0 4.18-r1",
		"ALPINE-CVE-2024-0006 <- CVE-2024-0006",
		"  Alpine:v3.20 xen: 0 4.18-r1",
		"ALPINE-XSA-2 <- XSA-2",
		"  Alpine:v3.20 xen: 0 4.18-r1",
	)
	converts(t, ConvertAlpine, `{"reponame":"os","packages":[{"pkg":{"name":"a","secfixes":{"1-r0":["CVE-2024-0001"]}}}]}`,
		"WOLFI-CVE-2024-0001 <- CVE-2024-0001", "  Wolfi a: 0 1-r0")
	converts(t, ConvertAlpine, `{"distroversion":"v99","packages":[]}`, `invalid: converting Alpine secdb: the branch "v99" and repository "" are not known`)
	converts(t, ConvertAlpine, `[]`, "invalid: converting Alpine secdb: json: cannot unmarshal array into Go value of type advisory.secdb")
}

// TestConvertTracker has each of what Debian's tracker can say.
func TestConvertTracker(t *testing.T) {
	converts(t, ConvertTracker, `{
	"openssl":{
		"CVE-2024-0001":{"description":"A fault","releases":{
			"bookworm":{"status":"resolved","fixed_version":"3.0.11-1~deb12u1","urgency":"not yet assigned","repositories":{"bookworm":"3.0.14-1"}},
			"sid":{"status":"resolved","fixed_version":"3.1-1","urgency":"medium"}}},
		"CVE-2024-0002":{"releases":{
			"bookworm":{"status":"open","urgency":"not yet assigned","nodsa":"Minor issue","nodsa_reason":""},
			"bullseye":{"status":"open","urgency":"end-of-life"},
			"trixie":{"status":"resolved","fixed_version":"0","urgency":"unimportant"},
			"sid":{"status":"resolved","fixed_version":"3.2-1","urgency":"low"}}},
		"CVE-2024-0003":{"releases":{
			"bookworm":{"status":"open","urgency":"unimportant","nodsa":"Too intrusive","nodsa_reason":"ignored"},
			"trixie":{"status":"open","urgency":"medium**","nodsa":"Later","nodsa_reason":"postponed"},
			"bullseye":{"status":"undetermined","urgency":"not yet assigned"},
			"sid":{"status":"open","urgency":"not yet assigned"}}},
		"CVE-2024-0004":{"releases":{"sid":{"status":"open","urgency":"low"}}}},
	"edk2":{"CVE-2024-0001":{"releases":{"bookworm":{"status":"open","urgency":"low"}}}}}`,
		"DEBIAN-CVE-2024-0001 <- CVE-2024-0001",
		"  Debian:12 edk2: 0 low",
		"  Debian:12 openssl: 0 3.0.11-1~deb12u1",
		"DEBIAN-CVE-2024-0002 <- CVE-2024-0002",
		"  Debian:11 openssl: 0 3.2-1 unreleased end-of-life (end-of-life)",
		"  Debian:12 openssl: 0 3.2-1 unreleased (no-dsa: Minor issue)",
		"  Debian:13 openssl: 0 0 unimportant",
		"DEBIAN-CVE-2024-0003 <- CVE-2024-0003",
		"  Debian:12 openssl: 0 wont-fix unimportant (ignored: Too intrusive)",
		"  Debian:13 openssl: 0 deferred medium (postponed: Later)",
	)
	for document, want := range map[string]string{
		``:                       "invalid",
		`[1]`:                    "invalid",
		`{"a":1}`:                "invalid",
		`{"a":{"../x":{}}}`:      "invalid",
		`{"a":{"CVE-1":{}}`:      "invalid",
		strings.Repeat("[", 100): "limit",
	} {
		got := show(t, ConvertTracker([]byte(document), Limits{}))
		if len(got) != 1 || !strings.HasPrefix(got[0], want+": ") {
			t.Errorf("%s: %v, want one %s", document, got, want)
		}
	}
}

// TestConvertDebianList has bulletins and vulnerabilities.
func TestConvertDebianList(t *testing.T) {
	converts(t, ConvertDebianList, "[11 Jun 2023] DSA-5427-1 webkit2gtk - security update\n\t{CVE-2023-0001 CVE-2023-0002}\n"+
		"\t[bullseye] - webkit2gtk 2.40.2-1~deb11u1\n\t[bookworm] - webkit2gtk 2.40.2-1~deb12u1\n\tNOTE: words\n"+
		"[1 Jan 2024] DLA-3000-1 a - security update\n\t[sid] - a 2-1\n\t[buster] - a <not-affected> (Vulnerable code not present)\n",
		"DLA-3000-1",
		"  Debian:10 a: 0 0",
		"DSA-5427-1 <- CVE-2023-0001 CVE-2023-0002",
		"  Debian:11 webkit2gtk: 0 2.40.2-1~deb11u1",
		"  Debian:12 webkit2gtk: 0 2.40.2-1~deb12u1",
	)
	converts(t, ConvertDebianList, "CVE-2023-0001 (A fault in openssl)\n\t{DSA-1-1}\n\t- openssl 3.0.11-1 (bug #1; medium)\n\t[bookworm] - openssl 3.0.9-1+deb12u1\n"+
		"\t[bullseye] - openssl <no-dsa> (Minor issue; bug #2)\n\t[buster] - openssl <not-affected> (Introduced later)\n"+
		"CVE-2023-0002\n\tRESERVED\n\t- gone <removed>\n\t- mine <itp> (bug #3)\n\t- what <undetermined>\n"+
		"CVE-2023-0003 [temporary words]\n\t- a <unfixed> (unimportant)\n\t[trixie] - a <postponed>\n\t[forky] - a <ignored> (Not worth it)\n\t[bookworm] - a <end-of-life>\n"+
		"CVE-2023-0004\n\tNOT-FOR-US: something\n",
		"DEBIAN-CVE-2023-0001 <- CVE-2023-0001",
		"  Debian:10 openssl: 0 0",
		"  Debian:11 openssl: 0 3.0.11-1 unreleased (no-dsa: Minor issue)",
		"  Debian:12 openssl: 0 3.0.9-1+deb12u1",
		"  Debian:13 openssl: 0 3.0.11-1 unreleased",
		"  Debian:14 openssl: 0 3.0.11-1 unreleased",
		"DEBIAN-CVE-2023-0002 <- CVE-2023-0002",
		"  Debian:10 gone: 0 (removed)",
		"  Debian:11 gone: 0 (removed)",
		"  Debian:12 gone: 0 (removed)",
		"  Debian:13 gone: 0 (removed)",
		"  Debian:14 gone: 0 (removed)",
		"DEBIAN-CVE-2023-0003 <- CVE-2023-0003",
		"  Debian:10 a: 0 unimportant",
		"  Debian:11 a: 0 unimportant",
		"  Debian:12 a: 0 end-of-life (end-of-life)",
		"  Debian:13 a: 0 deferred (postponed)",
		"  Debian:14 a: 0 wont-fix (ignored: Not worth it)",
	)
	converts(t, ConvertDebianList, "\t- a 1\n", "invalid: converting Debian list: line 1 belongs to no entry")
	converts(t, ConvertDebianList, "hello\n", `invalid: converting Debian list: line 1 is no entry: "hello"`)
}

const vexDocument = `{"document":{"category":"csaf_vex","title":"a fault","tracking":{"id":"CVE-2024-0001","status":"final",
	"current_release_date":"2024-05-01T00:00:00+00:00","initial_release_date":"2024-04-01T00:00:00+00:00"}},
"product_tree":{"branches":[{"category":"vendor","name":"Red Hat","branches":[
	{"category":"product_name","product":{"product_id":"BaseOS-9","name":"RHEL 9","product_identification_helper":{"cpe":"cpe:/o:redhat:enterprise_linux:9::baseos"}}},
	{"category":"product_name","product":{"product_id":"EUS-9.0","name":"RHEL 9.0 EUS","product_identification_helper":{"cpe":"cpe:/o:redhat:rhel_eus:9.0::baseos"}}},
	{"category":"product_version","product":{"product_id":"openssl-libs-1:3.0.1-41.el9_0.x86_64","name":"x","product_identification_helper":{"purl":"pkg:rpm/redhat/openssl-libs@3.0.1-41.el9_0?arch=x86_64&epoch=1"}}},
	{"category":"product_version","product":{"product_id":"openssl-libs-1:3.0.1-41.el9_0.s390x","name":"x","product_identification_helper":{"purl":"pkg:rpm/redhat/openssl-libs@3.0.1-41.el9_0?arch=s390x&epoch=1"}}},
	{"category":"product_version","product":{"product_id":"edk2","name":"edk2","product_identification_helper":{"purl":"pkg:rpm/redhat/edk2?arch=src"}}},
	{"category":"product_version","product":{"product_id":"shim","name":"shim","product_identification_helper":{"purl":"pkg:rpm/redhat/shim?arch=src"}}},
	{"category":"product_version","product":{"product_id":"node","name":"n","product_identification_helper":{"purl":"pkg:rpm/redhat/nodejs@16.20.2-8.module%2Bel9?arch=x86_64&epoch=1&rpmmod=nodejs:16:9020:rhel9"}}}]}],
 "full_product_names":[{"product_id":"lib","name":"lib 1.0","product_identification_helper":{"purl":"pkg:maven/org.example/lib@1.0"}}],
 "relationships":[
	{"category":"default_component_of","full_product_name":{"product_id":"9:libs-x"},"product_reference":"openssl-libs-1:3.0.1-41.el9_0.x86_64","relates_to_product_reference":"BaseOS-9"},
	{"category":"default_component_of","full_product_name":{"product_id":"9:libs-s"},"product_reference":"openssl-libs-1:3.0.1-41.el9_0.s390x","relates_to_product_reference":"BaseOS-9"},
	{"category":"default_component_of","full_product_name":{"product_id":"eus:libs"},"product_reference":"openssl-libs-1:3.0.1-41.el9_0.x86_64","relates_to_product_reference":"EUS-9.0"},
	{"category":"default_component_of","full_product_name":{"product_id":"9:edk2"},"product_reference":"edk2","relates_to_product_reference":"BaseOS-9"},
	{"category":"default_component_of","full_product_name":{"product_id":"9:shim"},"product_reference":"shim","relates_to_product_reference":"BaseOS-9"},
	{"category":"default_component_of","full_product_name":{"product_id":"9:node"},"product_reference":"node","relates_to_product_reference":"BaseOS-9"}]},
"vulnerabilities":[{"cve":"CVE-2024-0001",
	"product_status":{"fixed":["9:libs-x","9:libs-s","eus:libs","9:node"],"known_affected":["9:edk2","lib"],"known_not_affected":["9:shim"],"under_investigation":["BaseOS-9"]},
	"remediations":[{"category":"no_fix_planned","details":"Will not fix","product_ids":["9:edk2"]},{"category":"workaround","details":"Do not","product_ids":["lib"]}],
	"scores":[{"cvss_v3":{"vectorString":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}}],
	"threats":[{"category":"impact","details":"Moderate"}]}]}`

func TestConvertCSAF(t *testing.T) {
	converts(t, ConvertCSAF, vexDocument,
		"CVE-2024-0001 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N moderate",
		"  Maven org.example:lib: =1.0 binary",
		"  Red Hat:enterprise_linux:9::baseos edk2: 0 wont-fix (Will not fix)",
		"  Red Hat:enterprise_linux:9::baseos nodejs: 0 1:16.20.2-8.module+el9 of nodejs:16 binary",
		"  Red Hat:enterprise_linux:9::baseos openssl-libs: 0 1:3.0.1-41.el9_0 binary",
		"  Red Hat:enterprise_linux:9::baseos shim: 0 0",
		"  Red Hat:rhel_eus:9.0::baseos openssl-libs: 0 1:3.0.1-41.el9_0 binary",
	)
	converts(t, ConvertCSAF, `{"document":{"aggregate_severity":{"text":"Important"},"tracking":{"id":"RHSA-2024:1","status":"withdrawn","current_release_date":"2024-05-01T00:00:00Z"}},
		"vulnerabilities":[{"cve":"CVE-2024-0001"},{"title":"no number"}]}`,
		"RHSA-2024:1~2 withdrawn important",
		"RHSA-2024:1~CVE-2024-0001 <- CVE-2024-0001 withdrawn important",
	)
	converts(t, ConvertCSAF, `{"document":{"tracking":{"id":"../x"}}}`, `invalid: converting CSAF document: its tracking ID "../x" is none`)
	converts(t, ConvertCSAF, `{`, "invalid: converting CSAF document: unexpected end of JSON input")
}

// TestPackageOf reads purls as CSAF documents have them.
func TestPackageOf(t *testing.T) {
	for _, tt := range []struct {
		purl, cpe string
		want      product
		ok        bool
	}{
		{"pkg:rpm/redhat/a@1-2.el9?arch=src", "cpe:/o:redhat:enterprise_linux:9", product{ecosystem: "Red Hat:enterprise_linux:9", name: "a", version: "1-2.el9", source: true}, true},
		{"pkg:rpm/redhat/a@1-2.el9?epoch=0", "cpe:2.3:o:redhat:enterprise_linux:9:*:baseos:*:*:*:*:*", product{ecosystem: "Red Hat:enterprise_linux:9", name: "a", version: "1-2.el9"}, true},
		{"pkg:rpm/redhat/a@1-2.el9", "", product{}, false},
		{"pkg:rpm/opensuse/a@1", "cpe:/o:opensuse:leap:15.5", product{}, false},
		{"pkg:golang/github.com/a/b@v1.2.3#sub", "", product{ecosystem: "Go", name: "github.com/a/b", version: "v1.2.3"}, true},
		{"pkg:npm/%40scope/a@1.0.0", "", product{ecosystem: "npm", name: "@scope/a", version: "1.0.0"}, true},
		{"pkg:oci/a@sha256:1", "", product{}, false},
		{"a", "", product{}, false}, {"pkg:npm", "", product{}, false}, {"pkg:npm/%zz@1", "", product{}, false}, {"pkg:npm/a@%zz", "", product{}, false},
	} {
		got, ok := packageOf(tt.purl, tt.cpe)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s on %s: %+v %v, want %+v %v", tt.purl, tt.cpe, got, ok, tt.want, tt.ok)
		}
	}
}

// fuzzConverter gives a converter whatever: it must end, and what it yields must
// be records, or an error that says that it cannot be converted.
func fuzzConverter(f *testing.F, convert func([]byte, Limits) iter.Seq2[Record, error]) {
	f.Fuzz(func(t *testing.T, b []byte) {
		for r, err := range convert(b, Limits{Document: 1 << 20}) {
			if err == nil && r.SHA256 != dossier.FromBytes(r.Bytes) {
				t.Errorf("%s: its digest is not that of its bytes", r.ID)
			}
			if k := dossier.KindOf(err); err != nil && k != dossier.KindInvalid && k != dossier.KindLimit && k != dossier.KindUnsupported {
				t.Errorf("%v is of kind %s", err, k)
			}
		}
	})
}

func FuzzConvertAlpine(f *testing.F) {
	f.Add([]byte(`{"distroversion":"v3.20","packages":[{"pkg":{"name":"a","secfixes":{"1-r0":["CVE-2024-0001 XSA-1"],"0":["CVE-2024-0002"]}}}]}`))
	fuzzConverter(f, ConvertAlpine)
}

func FuzzConvertTracker(f *testing.F) {
	f.Add([]byte(`{"a":{"CVE-2024-0001":{"releases":{"bookworm":{"status":"open","nodsa":"x","nodsa_reason":"ignored"},"sid":{"status":"resolved","fixed_version":"1"}}}}}`))
	fuzzConverter(f, ConvertTracker)
}

func FuzzConvertDebianList(f *testing.F) {
	f.Add([]byte("[11 Jun 2023] DSA-5427-1 a - x\n\t{CVE-2023-0001}\n\t[bookworm] - a 1-1\nCVE-2023-0002 (x)\n\t- a <unfixed> (low)\n\t[trixie] - a <no-dsa> (y)\n"))
	fuzzConverter(f, ConvertDebianList)
}

func FuzzConvertCSAF(f *testing.F) {
	f.Add([]byte(vexDocument))
	fuzzConverter(f, ConvertCSAF)
}
