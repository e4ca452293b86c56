// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// The types of event.
const (
	TypeNew     = "dev.dossier.finding.new"     // an image that runs has findings that it had not
	TypeGone    = "dev.dossier.finding.gone"    // a workload no longer has findings
	TypeStarted = "dev.dossier.image.started"   // an image with known findings began to run in a workload
	TypeDigest  = "dev.dossier.findings.digest" // more of these than are told one by one
)

// Kinds of event as filters name them, by type.
func kinds() map[string]string {
	return map[string]string{TypeNew: "new", TypeGone: "gone", TypeStarted: "started"}
}

// Why findings are new or gone.
const (
	ReasonAdvisory   = "advisory"   // advisories say so now, or no longer
	ReasonIgnore     = "ignore"     // nobody says any more that it does not count
	ReasonSuppressed = "suppressed" // somebody says that it does not count
	ReasonImage      = "image"      // the workload runs another image
	ReasonWorkload   = "workload"   // nothing of the workload runs the image any more
)

// Limits of events.
const (
	// maxFindings is how many findings an event lists, the worst first.
	maxFindings = 100
	// maxEvents is how many events are made for a target at a time; when there are
	// more, one digest is made instead of them all.
	maxEvents = 100
	// maxWaiting is how many events may wait for a target before it gets digests only.
	maxWaiting = 1000
)

// Event is a CloudEvent (CloudEvents 1.0.2, structured mode, JSON format).
type Event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"` // made from what it says
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

// Data is what an event about a workload and an image says.
type Data struct {
	Workload    dossier.Workload         `json:"workload"`
	Cluster     string                   `json:"cluster"` // its name
	Containers  []string                 `json:"containers"`
	Digest      dossier.Digest           `json:"digest"`
	Images      []string                 `json:"images"`           // names of the image
	Reason      string                   `json:"reason,omitempty"` // of new and gone findings
	Now         []dossier.Digest         `json:"now,omitempty"`    // gone: which images the workload runs in these containers instead
	Total       int                      `json:"total"`            // of findings that the event is about and the filter lets through
	Severities  map[dossier.Severity]int `json:"severities"`       // the same, by severity
	Fixable     int                      `json:"fixable"`
	Exploited   int                      `json:"exploited"`
	Findings    []Finding                `json:"findings"`            // at most maxFindings, the worst first
	NotAssessed int                      `json:"notAssessed"`         // packages of which nothing can be said
	Suppressed  int                      `json:"suppressed"`          // findings that somebody says do not count
	Truncated   bool                     `json:"truncated,omitempty"` // Findings are not all
	Links       Links                    `json:"links"`
}

// Links lead to the API of the server.
type Links struct {
	Vulnerabilities string `json:"vulnerabilities"`
	Image           string `json:"image"`
}

// Finding is a vulnerability of an image: of all its packages together.
type Finding struct {
	ID         string           `json:"id"`
	Aliases    []string         `json:"aliases,omitempty"` // all other IDs, of advisories too
	Severity   dossier.Severity `json:"severity"`          // the worst
	Score      float64          `json:"score,omitempty"`
	Exploited  bool             `json:"exploited,omitempty"`
	Fixable    bool             `json:"fixable,omitempty"`
	Packages   []Package        `json:"packages"` // at most maxPackages
	Remedies   []string         `json:"remedies,omitempty"`
	Advisories []string         `json:"advisories,omitempty"`
	FirstSeen  time.Time        `json:"firstSeen,omitzero"` // since when it has been known of a package
	Known      bool             `json:"known,omitempty"`    // started: the workload had it before, with another image
	By         []string         `json:"by,omitempty"`       // gone: who says that it does not count, until when
}

// Package is a package that has a vulnerability.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	FixedIn string `json:"fixedIn,omitempty"`
}

// maxPackages bounds the packages of a finding.
const maxPackages = 20

// DigestData is what a digest says.
type DigestData struct {
	Events     map[string]int           `json:"events"` // that it stands for, by type
	Workloads  int                      `json:"workloads"`
	Images     int                      `json:"images"`
	Namespaces []string                 `json:"namespaces"`
	Severities map[dossier.Severity]int `json:"severities"` // of findings that are new or started, each vulnerability once
	Fixable    int                      `json:"fixable"`
	Exploited  int                      `json:"exploited"`
	Findings   []DigestFinding          `json:"findings"` // at most maxFindings, the worst first
	Truncated  bool                     `json:"truncated,omitempty"`
	Links      struct {
		Images string `json:"images"`
	} `json:"links"`
}

// DigestFinding is a vulnerability in a digest.
type DigestFinding struct {
	ID        string           `json:"id"`
	Severity  dossier.Severity `json:"severity"`
	Exploited bool             `json:"exploited,omitempty"`
	Fixable   bool             `json:"fixable,omitempty"`
	New       int              `json:"new,omitempty"`     // workloads and images in which it is new
	Started   int              `json:"started,omitempty"` // that began to run with it
	Gone      int              `json:"gone,omitempty"`    // that no longer have it
}

// summarize groups the findings of a list by vulnerability, the worst first.
func summarize(list []dossier.Finding) []Finding {
	var out []Finding
	at := map[string]int{}
	for _, f := range list {
		i, ok := at[f.ID]
		if !ok {
			i = len(out)
			at[f.ID] = i
			out = append(out, Finding{ID: f.ID, Aliases: f.Aliases, Severity: f.Severity})
		}
		out[i].add(f)
	}
	slices.SortStableFunc(out, worse)
	return out
}

func (s *Finding) add(f dossier.Finding) {
	if f.Severity.Rank() > s.Severity.Rank() {
		s.Severity = f.Severity
	}
	s.Score = max(s.Score, f.Score)
	s.Fixable = s.Fixable || f.State == dossier.Fixable
	s.Exploited = s.Exploited || f.Exploit != nil && !f.Exploit.KnownSince.IsZero()
	if s.FirstSeen.IsZero() || !f.Since.IsZero() && f.Since.Before(s.FirstSeen) {
		s.FirstSeen = f.Since
	}
	p := Package{Name: f.Package.Name, Version: f.Package.Version, PURL: f.Package.PURL, FixedIn: f.FixedIn}
	if !slices.Contains(s.Packages, p) && len(s.Packages) < maxPackages {
		s.Packages = append(s.Packages, p)
	}
	if f.Remedy != nil && !slices.Contains(s.Remedies, f.Remedy.Text) && len(s.Remedies) < maxPackages {
		s.Remedies = append(s.Remedies, f.Remedy.Text)
	}
	for _, p := range f.Proof {
		if !slices.Contains(s.Advisories, p.Advisory) {
			s.Advisories = append(s.Advisories, p.Advisory)
		}
	}
}

// worse orders findings: what is exploited, what is worse, what can be fixed, by ID.
func worse(a, b Finding) int {
	return cmp.Or(number(b.Exploited)-number(a.Exploited), b.Severity.Rank()-a.Severity.Rank(), number(b.Fixable)-number(a.Fixable), strings.Compare(a.ID, b.ID))
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// is reports whether two findings are of one vulnerability: they share a name.
func (s Finding) is(o Finding) bool {
	named := func(id string) bool { return id == o.ID || slices.Contains(o.Aliases, id) }
	return named(s.ID) || slices.ContainsFunc(s.Aliases, named)
}

// fill counts findings and lists the worst of them.
func (d *Data) fill(list []Finding) {
	d.Total, d.Severities, d.Fixable, d.Exploited = len(list), map[dossier.Severity]int{}, 0, 0
	for _, f := range list {
		d.Severities[f.Severity]++
		d.Fixable += number(f.Fixable)
		d.Exploited += number(f.Exploited)
	}
	d.Truncated = len(list) > maxFindings
	d.Findings = list[:min(len(list), maxFindings)]
}

// encode writes an event, with an ID that is made from the rest of it. A clock that
// stands still gives equal events equal IDs, and that is as it should be.
func encode(e Event) (id string, body []byte, err error) {
	e.SpecVersion, e.ContentType = "1.0", "application/json"
	b, err := json.Marshal(e)
	if err != nil {
		return "", nil, err
	}
	e.ID = dossier.FromBytes(b).Hex()[:32]
	b, err = json.Marshal(e)
	return e.ID, b, err
}

// linksOf are the links of an image.
func linksOf(base string, d dossier.Digest) Links {
	base = strings.TrimSuffix(base, "/")
	q := url.Values{"ref": {string(d)}}.Encode()
	return Links{Vulnerabilities: base + "/api/v1/vulnerabilities?" + q, Image: base + "/api/v1/digests/" + string(d)}
}
