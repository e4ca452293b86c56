// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"cmp"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/cluster"
)

// Dossier judges evidence about a digest and puts together what is shown, as Digests does.
// It is pure, as Judge is.
func Dossier(e Evidence, p Policy) dossier.Dossier {
	return dossierOf(&e, root{digest: e.Subject}, p, NewParser(answerBodies))
}

// dossierOf judges evidence and puts together what is shown.
func dossierOf(e *Evidence, r root, p Policy, with *Parser) dossier.Dossier {
	d := dossier.Dossier{
		Digest:     e.Subject,
		Platforms:  append([]dossier.PlatformImage{}, e.Platforms...),
		Requested:  requestedOf(e, r),
		References: referencesOf(e),
		Running:    runningOf(e.Places),
		Answers:    judge(*e, p, with),
	}
	if e.Image != nil {
		d.MediaType = e.Image.MediaType
	}
	return d
}

// requestedOf lists the names that specs use, as they are written there.
func requestedOf(e *Evidence, r root) []string {
	names := []string{}
	for _, p := range e.Places {
		names = append(names, p.Requested)
	}
	if len(names) == 0 && r.asked != "" {
		names = append(names, r.asked)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// referencesOf lists every name@digest: where the image was found, and what
// runtimes call it.
func referencesOf(e *Evidence) []string {
	refs := []string{}
	if e.Subject == "" {
		return refs
	}
	add := func(name string) {
		if ref := name + "@" + string(e.Subject); name != "" && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	for _, n := range e.Names {
		add(n.Name)
	}
	var runtime []string
	for _, p := range e.Places {
		if id, err := cluster.ParseImageID(p.ImageID); err == nil && id.Digest == e.Subject {
			runtime = append(runtime, id.Name)
		}
	}
	slices.Sort(runtime)
	for _, name := range runtime {
		add(name)
	}
	return refs
}

// runningOf counts the pods of each container of each workload.
func runningOf(places []dossier.Place) []dossier.Running {
	count := map[dossier.Running]map[string]bool{}
	for _, p := range places {
		r := dossier.Running{Workload: p.Workload, Container: p.Container, Type: p.Type}
		if count[r] == nil {
			count[r] = map[string]bool{}
		}
		if runs(p) {
			count[r][p.Key()] = true
		}
	}
	out := make([]dossier.Running, 0, len(count))
	for r, pods := range count {
		r.Pods = len(pods)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b dossier.Running) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Container, b.Container))
	})
	return out
}
