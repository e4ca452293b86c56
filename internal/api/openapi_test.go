// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

// spec is what the tests look at of the OpenAPI document.
type spec struct {
	OpenAPI    string `json:"openapi"`
	Paths      map[string]map[string]operation
	Components struct {
		Schemas map[string]schema
	}
}

type operation struct {
	Parameters []struct {
		Name, In string
		Schema   schema
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
	Security []map[string][]string
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Format               string
	ContentEncoding      string
	Enum                 []string
	Properties           map[string]schema
	Required             []string
	Items                *schema
	AdditionalProperties *schema
	OneOf                []schema
	Maximum              *int64
	Default              any
}

const schemaPrefix = "#/components/schemas/"

func readSpec(t *testing.T) spec {
	t.Helper()
	var s spec
	if err := json.Unmarshal(openapiJSON, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// results are the Go types of the responses.
func results() map[string]any {
	return map[string]any{
		"/api/v1/images": dossier.ImageList{}, "/api/v1/dossiers": dossier.Dossier{}, "/api/v1/digests/{digest}": dossier.Dossier{},
		"/api/v1/digests/{digest}/tags": dossier.TagList{}, "/api/v1/where": dossier.FoundList{}, "/api/v1/history": dossier.History{},
		"/api/v1/changes":  dossier.TagDiff{},
		"/api/v1/audit":    dossier.AuditList{},
		"/api/v1/clusters": dossier.ClusterList{}, "/api/v1/jobs": dossier.JobList{}, "/api/v1/upstreams": dossier.UpstreamList{}, "/api/v1/facts/{id}": dossier.Fact{},
		"/api/v1/sbom":                    dossier.SBOM{},
		"/api/v1/vulnerabilities":         dossier.FindingList{},
		"/api/v1/explanation":             dossier.Explanation{},
		"/api/v1/subjects/{digest}/facts": dossier.FactList{},
		"/api/v1/registry/why":            dossier.Keeping{}, "/api/v1/registry/garbage": dossier.Collection{},
		"/api/v1/registry/damage": dossier.DamageList{},
		"/api/v1/registry/quotas": dossier.QuotaList{},
	}
}

// documented returns a path as the document has it, which knows no parameters of
// several elements.
func documented(path string) string { return strings.ReplaceAll(path, "...}", "}") }

func TestDocumentHasEveryRouteAndParameter(t *testing.T) {
	s := readSpec(t)
	served := map[string]bool{}
	for _, rt := range routes() {
		rt.path = documented(rt.path)
		served[rt.path] = true
		op, ok := s.Paths[rt.path]["get"]
		if !ok || len(s.Paths[rt.path]) != 1 {
			t.Errorf("%s: want exactly get in the document", rt.path)
			continue
		}
		var query, path []string
		for _, p := range op.Parameters {
			switch p.In {
			case "query":
				query = append(query, p.Name)
				if got := p.Schema.Type == "array"; got != slices.Contains(repeated(), p.Name) {
					t.Errorf("%s: parameter %s is repeated: %v in the document", rt.path, p.Name, got)
				}
			case "path":
				path = append(path, "{"+p.Name+"}")
			}
		}
		if diff := cmp.Diff(rt.params, query); diff != "" {
			t.Errorf("%s: parameters in the query (-served +document):\n%s", rt.path, diff)
		}
		for part := range strings.SplitSeq(rt.path, "/") {
			if strings.HasPrefix(part, "{") != slices.Contains(path, part) {
				t.Errorf("%s: %s is not among the parameters in the path", rt.path, part)
			}
		}
		if got := op.Security != nil; got != rt.open {
			t.Errorf("%s: open in the document: %v, served so: %v", rt.path, got, rt.open)
		}
		want, ok := results()[rt.path]
		got := strings.TrimPrefix(op.Responses["200"].Content[jsonType].Schema.Ref, schemaPrefix)
		if ok && got != reflect.TypeOf(want).Name() {
			t.Errorf("%s: gives %s in the document, want %T", rt.path, got, want)
		}
		if isAPI := strings.HasPrefix(rt.path, "/api/") && !slices.Contains([]string{"/api/v1/openapi.json", "/api/v1/proofs"}, rt.path); isAPI != ok {
			t.Errorf("%s: the test knows its result: %v", rt.path, ok)
		}
	}
	for path := range s.Paths {
		if !served[path] {
			t.Errorf("%s: is in the document and not served", path)
		}
	}
}

// TestDocumentAndTypesAgree walks the Go types and the schemas side by side.
func TestDocumentAndTypesAgree(t *testing.T) {
	s := readSpec(t)
	w := walk{t: t, schemas: s.Components.Schemas, seen: map[string]bool{}}
	for _, v := range results() {
		w.named(reflect.TypeOf(v))
	}
	w.named(reflect.TypeFor[dossier.ChangeLine]())
	w.named(reflect.TypeFor[dossier.Problem]())
	for name, sch := range s.Components.Schemas {
		if sch.Type == "object" && !w.seen[name] {
			t.Errorf("schema %s: no response has it", name)
		}
	}
}

type walk struct {
	t       *testing.T
	schemas map[string]schema
	seen    map[string]bool
}

// named compares a struct with the schema of its name.
func (w *walk) named(typ reflect.Type) {
	name := typ.Name()
	if w.seen[name] {
		return
	}
	w.seen[name] = true
	s, ok := w.schemas[name]
	if !ok {
		w.t.Errorf("schema %s is missing", name)
		return
	}
	fields := map[string]bool{}
	w.fields(name, s, typ, fields)
	if typ == reflect.TypeFor[dossier.Dossier]() {
		// Its MarshalJSON writes this one, null or a digest.
		fields["digest"] = true
		if got := s.Properties["digest"]; len(got.OneOf) != 2 || !slices.Contains(s.Required, "digest") {
			w.t.Errorf("%s.digest: want a digest or null", name)
		}
	}
	for p := range s.Properties {
		if !fields[p] {
			w.t.Errorf("%s.%s is in the document and not in the type", name, p)
		}
	}
}

func (w *walk) fields(name string, s schema, typ reflect.Type, fields map[string]bool) {
	for f := range typ.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous && tag == "":
			w.fields(name, s, f.Type, fields)
			continue
		case tag == "":
			w.t.Errorf("%s.%s has no JSON name", name, f.Name)
			continue
		}
		fields[tag] = true
		p, ok := s.Properties[tag]
		if !ok {
			w.t.Errorf("%s.%s is in the type and not in the document", name, tag)
			continue
		}
		w.value(name+"."+tag, p, f.Type)
		if optional := strings.HasPrefix(options, "omit"); optional == slices.Contains(s.Required, tag) {
			w.t.Errorf("%s.%s: may be absent: %v, which the document does not say", name, tag, optional)
		}
	}
}

// value compares one type with one schema.
func (w *walk) value(where string, s schema, typ reflect.Type) {
	want := ""
	switch {
	case typ.Kind() == reflect.Pointer:
		w.value(where, s, typ.Elem())
		return
	case typ == reflect.TypeFor[time.Time]():
		want = "string date-time"
	case typ == reflect.TypeFor[[]byte]():
		want = "string base64"
	case typ == reflect.TypeFor[dossier.Symbols]():
		want = "string"
	case typ.Kind() == reflect.Slice:
		want = "array"
		if s.Items == nil {
			w.t.Errorf("%s: a list of what?", where)
		} else {
			w.value(where+"[]", *s.Items, typ.Elem())
		}
	case typ.Kind() == reflect.Map:
		want = "object"
		if s.AdditionalProperties == nil {
			w.t.Errorf("%s: a map of what?", where)
		} else {
			w.value(where+"{}", *s.AdditionalProperties, typ.Elem())
		}
	case typ.Kind() == reflect.Struct:
		want = schemaPrefix + typ.Name()
		w.named(typ)
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.String, typ == reflect.TypeFor[dossier.Grade]():
		want = "string"
	case typ.Kind() == reflect.Int, typ.Kind() == reflect.Int64:
		want = "integer"
	case typ.Kind() == reflect.Float64:
		want = "number"
	}
	got := s.Ref
	if r, ok := w.schemas[strings.TrimPrefix(s.Ref, schemaPrefix)]; ok && r.Type == "string" {
		got = "string"
	} else if got == "" {
		got = strings.TrimSpace(s.Type + " " + s.Format + s.ContentEncoding)
	}
	if got = strings.TrimSuffix(got, " int64"); got != want {
		w.t.Errorf("%s: %q in the document, %q in the type", where, got, want)
	}
}

// TestDocumentEnumsAgree holds lists of words to the constants.
func TestDocumentEnumsAgree(t *testing.T) {
	s := readSpec(t)
	var grades []string
	for g := dossier.GradeNone; g <= dossier.GradeReproduced; g++ {
		grades = append(grades, g.String())
	}
	tests := map[string][]string{
		"Grade":     grades,
		"Status":    words(dossier.StatusOK, dossier.StatusWarn, dossier.StatusFail, dossier.StatusUnknown),
		"ErrorKind": words(allKinds...),
		"ContainerType": words(dossier.Container, dossier.InitContainer, dossier.EphemeralContainer,
			dossier.ImageVolume),
		"Field": words(dossier.FieldDigest, dossier.FieldReference, dossier.FieldLabel, dossier.FieldSource, dossier.FieldRevision,
			dossier.FieldBase, dossier.FieldLayer, dossier.FieldProgram, dossier.FieldVulnerability, dossier.FieldPackage, dossier.FieldAnnotation, dossier.FieldMediaType,
			dossier.FieldArtifactType, dossier.FieldPlatform, dossier.FieldSubject),
		"ChangeType":    words(dossier.ChangeAdded, dossier.ChangeUpdated, dossier.ChangeRemoved, dossier.ChangeSynced, dossier.ChangeError),
		"TagChangeType": words(dossier.TagAdded, dossier.TagMoved, dossier.TagRemoved),
		"JobState":      {"ready", "leased", "parked"},
		"UpstreamState": words(dossier.UpstreamUnknown, dossier.UpstreamOK, dossier.UpstreamFailing, dossier.UpstreamThrottled,
			dossier.UpstreamOffline, dossier.UpstreamRemoved),
		"Reason": words(dossier.MissedLayer, dossier.MissedFileSize, dossier.MissedCount, dossier.MissedName, dossier.MissedNesting, dossier.MissedInner,
			dossier.MissedTime, dossier.MissedBroken, dossier.MissedLink, dossier.MissedIdentity, dossier.MissedWindows),
		"Severity": words(dossier.SeverityCritical, dossier.SeverityHigh, dossier.SeverityMedium, dossier.SeverityLow, dossier.SeverityNegligible,
			dossier.SeverityUnknown),
		"FixState":    words(dossier.Fixable, dossier.Unfixed, dossier.WontFix, dossier.Deferred, dossier.EndOfLife, dossier.Investigating),
		"RemedyKind":  words(dossier.RemedyBase, dossier.RemedyPackage, dossier.RemedyRebuild, dossier.RemedyNone),
		"Presence":    words(dossier.SymbolsPresent, dossier.SymbolsAbsent, dossier.SymbolsUnknown),
		"AuditAction": words(dossier.AuditActions()...),
		"AuditObject": words(dossier.ObjectManifest, dossier.ObjectBlob, dossier.ObjectTag),
		"HeldKind":    words(dossier.HeldManifest, dossier.HeldBlob, dossier.HeldTag, dossier.HeldBytes),
		"ReasonKind": words(dossier.ReasonTag, dossier.ReasonParent, dossier.ReasonCluster, dossier.ReasonSubject,
			dossier.ReasonLease, dossier.ReasonRule, dossier.ReasonNoRule, dossier.ReasonWithheld),
	}
	for name, want := range tests {
		if diff := cmp.Diff(want, s.Components.Schemas[name].Enum); diff != "" {
			t.Errorf("%s (-want +document):\n%s", name, diff)
		}
	}
	for name, sch := range s.Components.Schemas {
		if len(sch.Enum) > 0 && tests[name] == nil {
			t.Errorf("%s: a list of words that the test does not know", name)
		}
	}
	questions := s.Components.Schemas["Answers"].Required
	if diff := cmp.Diff(words(dossier.Questions()...), questions); diff != "" {
		t.Errorf("Answers (-want +document):\n%s", diff)
	}
}

func words[S ~string](list ...S) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// TestDocumentLimitsAgree holds numbers to the constants.
func TestDocumentLimitsAgree(t *testing.T) {
	want := map[string]string{
		"/api/v1/audit limit":                   fmt.Sprint(dossier.MaxAuditPage, dossier.DefaultAuditPage),
		"/api/v1/where limit":                   fmt.Sprint(MaxFound, defaultFound),
		"/api/v1/subjects/{digest}/facts limit": fmt.Sprint(MaxFacts, defaultFacts),
		"/api/v1/digests/{digest}/tags limit":   fmt.Sprint(MaxTags, MaxTags),
		"/api/v1/changes limit":                 fmt.Sprint(MaxTags, MaxTags),
	}
	for path, ops := range readSpec(t).Paths {
		for _, p := range ops["get"].Parameters {
			if p.Schema.Maximum == nil {
				continue
			}
			key := path + " " + p.Name
			if got := fmt.Sprint(*p.Schema.Maximum, p.Schema.Default); got != want[key] {
				t.Errorf("%s: maximum and default are %s in the document, %s served", key, got, want[key])
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		t.Errorf("the document does not say: %v", want)
	}
}

func TestDocumentIsServedOnce(t *testing.T) {
	_, url := start(t, Config{})
	resp, body := get(t, url+"/api/v1/openapi.json")
	if body != string(openapiJSON) || resp.Header.Get("Content-Type") != jsonType {
		t.Errorf("got %s, %d bytes", resp.Header.Get("Content-Type"), len(body))
	}
	etag := resp.Header.Get("ETag")
	tests := map[string]int{etag: 304, "W/" + etag: 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200, "": 200}
	for match, want := range tests {
		if resp, _ := get(t, url+"/api/v1/openapi.json", "If-None-Match: "+match); resp.StatusCode != want {
			t.Errorf("If-None-Match %s: %s, want %d", match, resp.Status, want)
		}
	}
	if resp, _ := get(t, url+"/api/v1/images"); resp.Header.Get("ETag") != "" || resp.StatusCode != http.StatusOK {
		t.Errorf("a list has an ETag: %v", resp.Header)
	}
}
