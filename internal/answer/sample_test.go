// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"encoding/json"
	"fmt"
	"time"

	"dossier.dev/dossier"
)

// asOf is the time of every sample.
var asOf = time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// sample is an image of one platform, from which evidence is made.
type sample struct {
	seed        string // makes its digests differ from those of equal samples
	created     string
	author      string
	labels      map[string]string
	annotations map[string]string // of the manifest
	descriptor  map[string]string // of the descriptor in an index; wraps the image in one
	index       map[string]string // of the index; wraps the image in one
	env         []string
	history     []string // each made a layer; "# " before one that did not
	layers      int      // at least; history adds more
	program     *dossier.GoBuild
	contents    *dossier.Contents
	name        string // repository in which it was found
	tags        []string
}

// must marshals what cannot fail to.
func must(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func fact(subject dossier.Digest, kind dossier.FactKind, source string, validAt time.Time, body []byte) dossier.Fact {
	f := dossier.Fact{
		Statement:  dossier.Statement{Subject: subject, Kind: kind, Source: source, ValidAt: validAt, Body: body},
		RecordedAt: asOf.Add(-day),
		Seq:        1,
		Salt:       make([]byte, 32),
	}
	f.ID = f.Statement.ID()
	f.Leaf = f.LeafHash()
	return f
}

func digestOf(format string, args ...any) dossier.Digest {
	return dossier.FromBytes(fmt.Appendf(nil, format, args...))
}

type object = map[string]any

// evidence makes the evidence that gathering would find for the sample.
func (s sample) evidence() Evidence {
	e := Evidence{AsOf: asOf, Platforms: []dossier.PlatformImage{}}
	var history []object
	layers := 0
	for _, h := range s.history {
		entry := object{"created_by": h, "comment": "buildkit.dockerfile.v0"}
		if h[0] == '#' {
			entry["created_by"], entry["empty_layer"] = h[2:], true
		} else {
			layers++
		}
		history = append(history, entry)
	}
	var diffIDs []dossier.Digest
	var descriptors []object
	for i := range max(layers, s.layers, 1) {
		d := digestOf("layer %d of %s", i, s.seed)
		diffIDs = append(diffIDs, d)
		descriptors = append(descriptors, object{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": 100})
	}
	config := must(object{
		"created": s.created, "author": s.author, "os": "linux", "architecture": "amd64",
		"config": object{"Labels": s.labels, "Env": s.env}, "rootfs": object{"diff_ids": diffIDs}, "history": history,
	})
	configDigest := dossier.FromBytes(config)
	manifest := must(object{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": s.annotations,
		"config": object{"digest": configDigest, "size": len(config)}, "layers": descriptors,
	})
	e.Subject = dossier.FromBytes(manifest)
	e.Image = &dossier.Image{Digest: e.Subject, Kind: dossier.ImageManifest, MediaType: "application/vnd.oci.image.manifest.v1+json", Size: int64(len(manifest)), Platform: "linux/amd64"}
	e.Platforms = append(e.Platforms, dossier.PlatformImage{Platform: "linux/amd64", Manifest: e.Subject, Config: configDigest, Pods: 1})
	e.Facts = append(e.Facts,
		fact(configDigest, dossier.FactConfig, "image", time.Time{}, config),
		fact(e.Subject, dossier.FactManifest, "image", time.Time{}, manifest))
	if s.program != nil {
		e.Facts = append(e.Facts, fact(e.Subject, dossier.FactGoBuild, "image", time.Time{}, must(s.program)))
	}
	if s.contents != nil {
		e.Facts = append(e.Facts, fact(e.Subject, dossier.FactContents, "image", time.Time{}, must(s.contents)))
	}
	if s.descriptor != nil || s.index != nil {
		e.wrap(s.descriptor, s.index)
	}
	if s.name != "" {
		seen := asOf.Add(-30 * day)
		e.Names = append(e.Names, Name{s.name, seen})
		e.Facts = append(e.Facts, fact(e.Subject, dossier.FactName, "registry:"+s.name, seen, must(dossier.NameBody{Name: s.name})))
	}
	for _, tag := range s.tags {
		e.tag(s.name, tag)
	}
	return e
}

// wrap makes the image one platform of an index.
func (e *Evidence) wrap(descriptor, annotations map[string]string) {
	manifest := e.Subject
	index := must(object{
		"mediaType":   "application/vnd.oci.image.index.v1+json",
		"annotations": annotations,
		"manifests":   []object{{"digest": manifest, "size": 1, "annotations": descriptor, "platform": object{"os": "linux", "architecture": "amd64"}}},
	})
	e.Subject = dossier.FromBytes(index)
	e.Image = &dossier.Image{Digest: e.Subject, Kind: dossier.ImageIndex, MediaType: "application/vnd.oci.image.index.v1+json", Size: int64(len(index))}
	e.Facts = append(e.Facts, fact(e.Subject, dossier.FactIndex, "image", time.Time{}, index))
	e.Edges = append(e.Edges, dossier.Edge{Parent: e.Subject, Child: manifest, Role: dossier.RolePlatform, Platform: "linux/amd64"})
}

func tagFactOf(d dossier.Digest, name, tag string, points bool, at time.Time) dossier.Fact {
	return fact(d, dossier.FactTag, "registry:"+name+":"+tag, at, must(dossier.TagBody{Name: name, Tag: tag, Points: points}))
}

// tag says that a tag points at the subject, as of a check an hour ago.
func (e *Evidence) tag(name, tag string) {
	i := dossier.TagInterval{Name: name, Tag: tag, Digest: e.Subject, From: asOf.Add(-20 * day), CheckedAt: asOf.Add(-time.Hour)}
	e.Tags = append(e.Tags, i)
	e.Facts = append(e.Facts, tagFactOf(e.Subject, name, tag, true, i.From))
	content := Content{Digest: e.Subject, Kind: e.Image.Kind, Children: e.Edges}
	e.Requested = append(e.Requested, RequestedTag{
		Reference: name + ":" + tag, Interval: &i, Target: content,
		Running: []Content{content}, PullPolicies: []string{"IfNotPresent"},
	})
	e.place(name+":"+tag, e.Subject)
}

// place adds a pod that asks for a reference.
func (e *Evidence) place(requested string, d dossier.Digest) {
	e.Places = append(e.Places, dossier.Place{
		Workload:  dossier.Workload{Cluster: "c", Namespace: "shop", Kind: "Deployment", Name: "front"},
		Pod:       fmt.Sprintf("front-%d", len(e.Places)),
		Container: "main", Type: dossier.Container, Platform: "linux/amd64", Requested: requested, Digest: d,
	})
}

// move lets the first requested tag point elsewhere since three days. The tag
// was seen to leave the subject.
func (e *Evidence) move(target Content) {
	r := &e.Requested[0]
	ref, err := dossier.ParseReference(r.Reference)
	if err != nil {
		panic(err)
	}
	at := asOf.Add(-3 * day)
	r.Interval = &dossier.TagInterval{Name: ref.Name(), Tag: ref.Tag, Digest: target.Digest, From: at, CheckedAt: asOf.Add(-time.Hour)}
	r.Target = target
	e.Tags = nil
	for i, f := range e.Facts {
		if f.Kind == dossier.FactTag {
			e.Facts[i] = tagFactOf(e.Subject, ref.Name(), ref.Tag, false, at)
		}
	}
	e.Facts = append(e.Facts, tagFactOf(target.Digest, ref.Name(), ref.Tag, true, at))
}

// sign says that the first tag was verified to mean the subject, or another digest.
func (e *Evidence) sign(means dossier.Digest, at, until time.Time) {
	e.Facts = append(e.Facts, signedFact(e.Subject, dossier.SignedTagBody{Means: means}, at, until))
}

func signedFact(d dossier.Digest, b dossier.SignedTagBody, at, until time.Time) dossier.Fact {
	b.Name, b.Tag, b.SignedBy, b.Role, b.Keys, b.Metadata, b.Until = nginxName, "1.27", "owner", "release", []string{"4f5d2c"}, "docker.io/library", until
	return fact(d, dossier.FactSignedTag, "tuf:"+nginxName+":1.27", at, must(b))
}

// add makes another sample a second platform of the image.
func (e *Evidence) add(s sample) {
	other := s.evidence()
	other.Platforms[0].Platform = "linux/arm64"
	e.Platforms = append(e.Platforms, other.Platforms[0])
	e.Facts = append(e.Facts, other.Facts[:2]...)
	for _, f := range other.Facts[2:] {
		if f.Kind == dossier.FactContents {
			e.Facts = append(e.Facts, f)
		}
	}
}

// on lets the image be built on another sample, whose configuration is known.
func (e *Evidence) on(base sample, layers int) {
	b := base.evidence()
	config := b.Platforms[0].Config
	e.Bases = append(e.Bases, Base{Digest: b.Platforms[0].Manifest, Name: base.name + ":" + base.tags[0], Config: config, Layers: layers})
	for _, f := range b.Facts {
		if f.Subject == config {
			e.Facts = append(e.Facts, f)
		}
	}
}
