// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"time"

	"dossier.dev/dossier"
)

// The keys that samples use.
const (
	keyTitle    = "org.opencontainers.image.title"
	keyVersion  = "org.opencontainers.image.version"
	keySource   = "org.opencontainers.image.source"
	keyRevision = "org.opencontainers.image.revision"
	keyLicenses = "org.opencontainers.image.licenses"
	keyBaseName = "org.opencontainers.image.base.name"
	keyBase     = "org.opencontainers.image.base.digest"
)

const (
	revisionA = "8bd4b1d0a1b2c3d4e5f60718293a4b5c6d7e8f90"
	revisionB = "ffffb1d0a1b2c3d4e5f60718293a4b5c6d7e8f90"
	nginxName = "docker.io/library/nginx"
	shopName  = "registry.example/shop/front"
)

// judgeCase is evidence and the row of the status table that it must hit.
type judgeCase struct {
	question dossier.Question
	row      string // of the table in docs/spec/answers.md
	variant  string // tells cases of one row apart
	sample   sample
	change   func(*Evidence)
}

func (c judgeCase) name() string {
	if c.variant == "" {
		return c.row
	}
	return c.row + "-" + c.variant
}

func (c judgeCase) evidence() Evidence {
	e := c.sample.evidence()
	if c.change != nil {
		c.change(&e)
	}
	return e
}

func (s sample) with(change func(*sample)) sample {
	change(&s)
	return s
}

func nginx() sample {
	return sample{
		created: "2024-05-01T10:00:00Z", name: nginxName, tags: []string{"1.27"},
		labels: map[string]string{keyTitle: "nginx", keyVersion: "1.27.3", "maintainer": "A. Person"},
	}
}

func goShop() sample {
	return sample{name: shopName, tags: []string{"1.2"}, created: "1970-01-01T00:00:00Z", program: &dossier.GoBuild{
		Path: "/app", GoVersion: "go1.26.1", Main: "github.com/acme/shop/v2/cmd/server", Module: "github.com/acme/shop/v2", Version: "v2.1.0",
		Settings: map[string]string{"vcs.revision": revisionA, "vcs.modified": "false"},
	}}
}

// unread forgets all that was read of the image.
func unread(e *Evidence) { e.Image, e.Facts, e.Platforms, e.Edges = nil, nil, nil, nil }

func refused(e *Evidence) {
	unread(e)
	e.Problems = []Problem{{Op: "reading the image", Message: "registry.example asks for a login", Hint: "Log in to registry.example.", At: asOf}}
}

// configOnly lets the runtime have reported the digest of the configuration,
// whose manifest is not known.
func configOnly(e *Evidence) {
	e.Subject = e.Platforms[0].Config
	e.Image = &dossier.Image{Digest: e.Subject, Kind: dossier.ImageConfig, Platform: "linux/amd64"}
	e.Platforms = []dossier.PlatformImage{{Platform: "linux/amd64", Manifest: e.Subject, Pods: 1}}
	e.Facts, e.Tags = e.Facts[:1], nil
}

// onDebian lets the layers of a sample hold packages.
func onDebian(main ...dossier.MainPackage) func(*sample) {
	return func(s *sample) {
		s.layers = 2
		s.contents = &dossier.Contents{
			Version:      "1+test",
			Distribution: &dossier.Distribution{Path: "etc/os-release", ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)", Ecosystem: "Debian:12"},
			Layers: []dossier.LayerContents{
				{Layer: digestOf("base"), Fact: digestOf("fact of base"), Set: digestOf("set of base"), Packages: map[string]int{"deb": 88}},
				{Layer: digestOf("top"), Fact: digestOf("fact of top"), Set: digestOf("set of top"), Packages: map[string]int{"deb": 3, "npm": 40}},
			},
			Main: main,
		}
	}
}

func debNginx(version string) dossier.MainPackage {
	return dossier.MainPackage{PURL: "pkg:deb/debian/nginx@" + version, Name: "nginx", Version: version, Path: "var/lib/dpkg/status", Why: "the package of that name"}
}

func whatCases() []judgeCase {
	name := func(s *sample) { s.labels = nil }
	return []judgeCase{
		{row: "not-read", sample: nginx(), change: unread},
		{row: "not-read", variant: "refused", sample: nginx(), change: refused},
		{row: "titles-disagree", sample: nginx().with(func(s *sample) { s.annotations = map[string]string{keyTitle: "proxy"} })},
		{row: "versions-disagree", sample: nginx().with(func(s *sample) { s.descriptor = map[string]string{keyVersion: "1.27.4"} })},
		{row: "versions-disagree", variant: "platforms", sample: nginx(), change: func(e *Evidence) {
			e.add(nginx().with(func(s *sample) { s.labels = map[string]string{keyTitle: "nginx", keyVersion: "1.26.0"} }))
		}},
		{row: "invalid", sample: nginx().with(func(s *sample) { s.annotations = map[string]string{keyLicenses: "The MIT License"} })},
		{row: "labelled", sample: nginx()},
		{row: "labelled", variant: "index", sample: sample{name: nginxName, index: map[string]string{keyVersion: "v1.27.3"}, descriptor: map[string]string{keyVersion: "1.27.3"}}},
		{row: "labelled", variant: "go", sample: goShop()},
		{row: "labelled", variant: "and-packaged", sample: nginx().with(onDebian(debNginx("1.27.3-1~bookworm")))},
		{row: "labelled", variant: "packaged", sample: nginx().with(name).with(onDebian(debNginx("1.26.0-1")))},
		{row: "labelled", variant: "distribution", sample: sample{name: "docker.io/library/debian", tags: []string{"bookworm"}}.with(onDebian())},
		{row: "labelled", variant: "not-all-read", sample: nginx().with(onDebian()).with(func(s *sample) {
			s.contents.Missed = []dossier.Missed{{Layer: digestOf("top"), Path: "app/huge.jar", Reason: dossier.MissedFileSize, Detail: "the limit Archive is 1073741824 bytes"}}
			s.contents.MissedCount = 3
		})},
		{row: "versions-disagree", variant: "packaged", sample: nginx().with(onDebian(debNginx("1.26.0-1")))},
		{row: "go-program", sample: goShop().with(func(s *sample) {
			p := *s.program
			p.Version = "v0.0.0-20240501100000-8bd4b1d0a1b2"
			s.program = &p
		})},
		{row: "hint", sample: nginx().with(name).with(func(s *sample) { s.env = []string{"NGINX_VERSION=1.27.3", "NJS_VERSION=0.8"} })},
		{row: "no-version", sample: nginx().with(func(s *sample) { s.labels = map[string]string{keyTitle: "Shop"} })},
		{row: "contents", sample: nginx().with(name).with(onDebian())},
		{row: "contents", variant: "without-name", sample: sample{}.with(onDebian())},
		{row: "contents", variant: "several-mains", sample: nginx().with(name).with(onDebian(debNginx("1.26.0-1"), dossier.MainPackage{PURL: "pkg:npm/shop@1.0.0", Name: "shop", Version: "1.0.0"}))},
		{row: "contents", variant: "on-known-base", sample: nginx().with(name).with(onDebian()), change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "contents", variant: "platforms", sample: nginx().with(name).with(onDebian()), change: func(e *Evidence) {
			e.add(nginx().with(name).with(onDebian()).with(func(s *sample) { s.seed = "arm"; s.contents.Layers = s.contents.Layers[:1] }))
		}},
		{row: "base-only", sample: nginx().with(func(s *sample) { s.name, s.tags, s.layers = shopName, []string{"2024-05"}, 3 }),
			change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "name-only", sample: nginx().with(name)},
		{row: "labelled", variant: "same-layers-elsewhere", sample: nginx(), change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "labelled", variant: "config-digest", sample: nginx(), change: configOnly},
		{row: "name-only", variant: "foreign-hint", sample: nginx().with(name).with(func(s *sample) { s.env = []string{"PYTHON_VERSION=3.12.1"} })},
		{row: "nothing", sample: sample{}},
	}
}

func originCases() []judgeCase {
	labels := func(kv ...string) sample {
		s := nginx()
		s.labels = map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			s.labels[kv[i]] = kv[i+1]
		}
		return s
	}
	known := []string{keySource, "https://github.com/nginx/nginx.git#8bd4b1d:mainline", keyRevision, revisionA}
	return []judgeCase{
		{row: "not-read", sample: nginx(), change: refused},
		{row: "sources-disagree", sample: labels(known...).with(func(s *sample) { s.annotations = map[string]string{keySource: "https://gitlab.com/me/nginx"} })},
		{row: "revisions-disagree", sample: goShop().with(func(s *sample) { s.labels = map[string]string{keyRevision: revisionB} })},
		{row: "modified", sample: goShop().with(func(s *sample) {
			p := *s.program
			p.Settings = map[string]string{"vcs.revision": revisionA, "vcs.modified": "true"}
			s.program = &p
		})},
		{row: "invalid", sample: labels(append(known, "org.label-schema.vcs-url", "github.com/nginx/nginx-old")...)},
		{row: "known", sample: labels(known...).with(func(s *sample) {
			s.annotations = map[string]string{keyRevision: revisionA[:7], "org.label-schema.vcs-url": "https://github.com/nginx/nginx"}
		})},
		{row: "known", variant: "go", sample: goShop()},
		{row: "no-revision", sample: labels(keySource, "https://github.com/nginx/nginx")},
		{row: "no-source", sample: labels(keyRevision, revisionA)},
		{row: "invalid-source", sample: labels(keySource, "git@github.com:nginx/nginx")},
		{row: "hearsay", sample: labels(keyBaseName, "docker.io/library/alpine:3.20")},
		{row: "hearsay", variant: "layers", sample: sample{name: shopName, layers: 3, history: []string{"ADD a", "COPY b", "COPY c"}},
			change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "hearsay", variant: "confirmed", sample: sample{layers: 3, annotations: map[string]string{keyBaseName: "mirror.example/nginx:stable",
			keyBase: string(nginx().evidence().Subject)}}, change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "hearsay", variant: "base-of-base", sample: sample{layers: 3, annotations: map[string]string{keyBaseName: "python:3.12", keyBase: string(digestOf("python"))}},
			change: func(e *Evidence) { e.on(nginx(), 1) }},
		{row: "hearsay", variant: "vendor", sample: labels("org.opencontainers.image.vendor", "Acme Ltd")},
		{row: "not-recorded", sample: labels()},
	}
}

func rebuildCases() []judgeCase {
	whole := sample{
		name: shopName, created: "2024-05-01T10:00:00Z", layers: 3,
		labels:      map[string]string{keySource: "https://github.com/acme/shop", keyRevision: revisionA},
		annotations: map[string]string{keyBaseName: "docker.io/library/alpine:3.20", keyBase: string(digestOf("alpine"))},
		history:     []string{"ADD rootfs /", "# WORKDIR /src", "RUN |2 VERSION=1.2 NPM_TOKEN=abc /bin/sh -c make # buildkit"},
	}
	return []judgeCase{
		{row: "not-read", sample: nginx(), change: refused},
		{row: "nothing", sample: nginx()},
		{row: "gaps", sample: nginx().with(func(s *sample) { s.labels = map[string]string{keySource: "https://github.com/nginx/nginx"} })},
		{row: "gaps", variant: "not-pinned", sample: whole.with(func(s *sample) { s.annotations = map[string]string{keyBaseName: "alpine:3.20"} })},
		{row: "gaps", variant: "disputed", sample: whole.with(func(s *sample) { s.descriptor = map[string]string{keyRevision: revisionB} })},
		{row: "gaps", variant: "modified", sample: goShop().with(func(s *sample) {
			p := *s.program
			p.Settings = map[string]string{"vcs.revision": revisionA, "vcs.modified": "true"}
			s.program = &p
		})},
		{row: "complete", sample: whole},
		{row: "complete", variant: "on-known-base", sample: whole.with(func(s *sample) { s.annotations = nil }),
			change: func(e *Evidence) { e.on(nginx(), 1) }},
	}
}

func currencyCases() []judgeCase {
	image := func(d string) Content { return Content{Digest: digestOf("%s", d), Kind: dossier.ImageManifest} }
	plain := nginx()
	multi := nginx().with(func(s *sample) { s.descriptor = map[string]string{} })
	age := func(created string) sample { return nginx().with(func(s *sample) { s.created = created }) }
	return []judgeCase{
		{row: "not-read", sample: sample{}, change: refused},
		{row: "moved", sample: plain, change: func(e *Evidence) { e.move(image("new")) }},
		{row: "moved", variant: "platform", sample: multi, change: func(e *Evidence) {
			c := Content{Digest: digestOf("new index"), Kind: dossier.ImageIndex}
			c.Children = []dossier.Edge{{Parent: c.Digest, Child: digestOf("new"), Role: dossier.RolePlatform, Platform: "linux/amd64"}}
			e.move(c)
		}},
		{row: "moved", variant: "never-seen-here", sample: plain, change: func(e *Evidence) {
			e.move(image("new"))
			e.Facts = deleteFacts(e.Facts, e.Subject, dossier.FactTag)
		}},
		{row: "points-elsewhere", sample: plain, change: func(e *Evidence) { e.move(Content{Digest: digestOf("new")}) }},
		{row: "points-elsewhere", variant: "config-digest", sample: plain, change: func(e *Evidence) { configOnly(e); e.move(image("new")) }},
		{row: "gone", sample: plain, change: func(e *Evidence) {
			e.move(image("new"))
			e.Requested[0].Interval, e.Requested[0].Target = nil, Content{}
		}},
		{row: "signed-otherwise", sample: plain, change: func(e *Evidence) { e.sign(digestOf("signed"), asOf.Add(-time.Hour), asOf.Add(time.Hour)) }},
		{row: "signed-otherwise", variant: "newer", sample: plain, change: func(e *Evidence) {
			e.sign("", asOf.Add(-2*time.Hour), asOf.Add(time.Hour))
			e.sign(digestOf("signed"), asOf.Add(-time.Hour), asOf.Add(time.Hour))
		}},
		{row: "moved", variant: "as-signed", sample: plain, change: func(e *Evidence) {
			e.sign("", asOf.Add(-2*time.Hour), asOf.Add(time.Hour))
			e.move(image("new"))
			e.Facts = append(e.Facts, signedFact(digestOf("new"), dossier.SignedTagBody{}, asOf.Add(-time.Hour), asOf.Add(time.Hour)))
		}},
		{row: "several-images", sample: plain, change: func(e *Evidence) { e.Requested[0].Running = append(e.Requested[0].Running, image("old")) }},
		{row: "floating", sample: nginx().with(func(s *sample) { s.tags = []string{"latest"} })},
		{row: "old", sample: age("2023-05-01T10:00:00Z")},
		{row: "stale-check", sample: plain, change: func(e *Evidence) { e.Requested[0].Interval.CheckedAt = asOf.Add(-9 * day) }},
		{row: "current", sample: plain},
		{row: "current", variant: "signed", sample: plain, change: func(e *Evidence) { e.sign("", asOf.Add(-time.Hour), asOf.Add(time.Hour)) }},
		{row: "current", variant: "was-signed", sample: plain, change: func(e *Evidence) { e.sign("", asOf.Add(-9*time.Hour), asOf.Add(-time.Hour)) }},
		{row: "current", variant: "was-signed-otherwise", sample: plain, change: func(e *Evidence) { e.sign(digestOf("signed"), asOf.Add(-9*time.Hour), asOf.Add(-time.Hour)) }},
		{row: "current", variant: "reproducible", sample: age("1970-01-01T00:00:00Z")},
		{row: "current", variant: "made-in-the-future", sample: age("2034-05-01T10:00:00Z")},
		{row: "current", variant: "index-moved-platform-stayed", sample: multi, change: func(e *Evidence) {
			c := Content{Digest: digestOf("new index"), Kind: dossier.ImageIndex}
			c.Children = []dossier.Edge{{Parent: c.Digest, Child: e.Platforms[0].Manifest, Role: dossier.RolePlatform, Platform: "linux/amd64"}}
			e.move(c)
		}},
		{row: "current", variant: "index-of-this-manifest", sample: plain, change: func(e *Evidence) {
			c := Content{Digest: digestOf("index"), Kind: dossier.ImageIndex}
			c.Children = []dossier.Edge{{Parent: c.Digest, Child: e.Subject, Role: dossier.RolePlatform, Platform: "linux/amd64"}}
			e.move(c)
		}},
		{row: "current", variant: "other-never-read", sample: plain, change: func(e *Evidence) {
			e.Requested[0].Running = append(e.Requested[0].Running, Content{Digest: digestOf("old")})
		}},
		{row: "current", variant: "platforms-apart", sample: plain, change: func(e *Evidence) {
			other := image("arm")
			other.Platforms = []string{"linux/arm64"}
			e.Requested[0].Running[0].Platforms = []string{"linux/amd64"}
			e.Requested[0].Running = append(e.Requested[0].Running, other)
		}},
		{row: "pinned", sample: nginx().with(func(s *sample) { s.tags = nil }), change: func(e *Evidence) {
			e.place(nginxName+"@"+string(e.Subject), e.Subject)
		}},
		{row: "never-checked", sample: nginx().with(func(s *sample) { s.tags = nil }), change: func(e *Evidence) {
			e.place(nginxName+":1.27", e.Subject)
			e.Requested = []RequestedTag{{Reference: nginxName + ":1.27", PullPolicies: []string{"Always"}}}
		}},
		{row: "never-checked", variant: "no-places", sample: sample{}},
	}
}

func deleteFacts(facts []dossier.Fact, subject dossier.Digest, kind dossier.FactKind) []dossier.Fact {
	var out []dossier.Fact
	for _, f := range facts {
		if f.Subject != subject || f.Kind != kind {
			out = append(out, f)
		}
	}
	return out
}

// judgeCases returns the cases of all questions.
func judgeCases() []judgeCase {
	var out []judgeCase
	for question, cases := range map[dossier.Question][]judgeCase{
		dossier.What:            whatCases(),
		dossier.Origin:          originCases(),
		dossier.Rebuild:         rebuildCases(),
		dossier.Currency:        currencyCases(),
		dossier.Vulnerabilities: vulnerabilityCases(),
	} {
		for _, c := range cases {
			c.question = question
			out = append(out, c)
		}
	}
	return out
}
