// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package care

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Limits of what is looked at to know what clusters need.
const (
	maxNeeded = 5_000_000 // digests
	atOnce    = 500       // digests of one query
)

// guard knows what clusters need: what they run and what they name, and what
// belongs to that. It is of one moment.
type guard struct {
	uses   []string // what clusters do, in words
	needed map[dossier.Digest]need
	tags   map[store.NameTag]int // tags that clusters name, and the use
	// unknown says why there may be more that is needed; none: there is not.
	unknown []string
}

// need is why a digest is needed.
type need struct {
	use int            // what a cluster does
	as  string         // what the digest is to via; empty: it is what the cluster names
	via dossier.Digest // what needs it
}

// reason returns why a digest is needed by a cluster, if it is.
func (g *guard) reason(d dossier.Digest) (dossier.KeepReason, bool) {
	n, ok := g.needed[d]
	if !ok {
		return dossier.KeepReason{}, false
	}
	if n.as == "" {
		return dossier.KeepReason{Kind: dossier.ReasonCluster, Text: g.uses[n.use]}, true
	}
	return dossier.KeepReason{Kind: dossier.ReasonCluster, Text: fmt.Sprintf("it is %s %s; %s", n.as, n.via.Short(), g.uses[n.use]), Digest: n.via}, true
}

// watch reads what clusters need.
func (c *Collector) watch(ctx context.Context, r store.Reader) (*guard, error) {
	g := &guard{needed: map[dossier.Digest]need{}, tags: map[store.NameTag]int{}}
	w := &watcher{
		guard: g, reader: r, words: map[string]int{}, asked: map[string]int{},
		whole: map[dossier.Digest]bool{}, queue: map[dossier.Digest]bool{},
	}
	if err := c.listed(ctx, r, g); err != nil {
		return nil, err
	}
	names, forgotten, err := c.clusters(ctx, r)
	if err != nil {
		return nil, err
	}
	for p, err := range r.Places(ctx, store.PlaceQuery{}) {
		if err != nil {
			return nil, err
		}
		if forgotten[p.Cluster] {
			continue
		}
		use := w.use(placeWords(p, names[p.Cluster]))
		w.root(p.Digest, use)
		w.ask(p.Requested, use)
	}
	pins, err := r.Pins(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pins {
		if !forgotten[p.Cluster] {
			w.ask(p.Reference, w.use(pinWords(p, names[p.Cluster])))
		}
	}
	if err := w.resolve(ctx); err != nil {
		return nil, err
	}
	return g, w.spread(ctx)
}

// clusters returns the names of clusters, and which are no more.
func (c *Collector) clusters(ctx context.Context, r store.Reader) (names map[string]string, forgotten map[string]bool, err error) {
	list, err := r.Clusters(ctx)
	names, forgotten = map[string]string{}, map[string]bool{}
	for _, k := range list {
		names[k.ID] = k.Name
		forgotten[k.ID] = slices.Contains(c.config.Policy.ForgetClusters, k.ID) || slices.Contains(c.config.Policy.ForgetClusters, k.Name)
	}
	return names, forgotten, err
}

// listed notes for which clusters it is not known what they need.
func (c *Collector) listed(ctx context.Context, r store.Reader, g *guard) error {
	list, err := r.Listings(ctx)
	if err != nil {
		return err
	}
	names, forgotten, err := c.clusters(ctx, r)
	if err != nil {
		return err
	}
	now := c.now()
	there := map[store.Listing]bool{}
	for _, l := range list {
		there[store.Listing{Cluster: l.Cluster, Part: l.Part}] = true
	}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		for _, part := range []store.ListingPart{store.ListingPods, store.ListingTemplates} {
			if !there[store.Listing{Cluster: id, Part: part}] && !strings.HasPrefix(id, "file:") {
				list = append(list, store.Listing{Cluster: id, Part: part})
			}
		}
	}
	for _, l := range list {
		name := names[l.Cluster]
		switch {
		case forgotten[l.Cluster] || slices.Contains(c.config.Policy.ForgetClusters, l.Cluster):
			continue
		case l.Cluster == "":
			g.unknown = append(g.unknown, "a cluster that is to be followed was not reached yet")
			continue
		case name == "":
			name = l.Cluster
		}
		if l.Scope != "" && !c.config.Policy.PartialCluster {
			g.unknown = append(g.unknown, fmt.Sprintf("of cluster %s only the %s of %s are listed; partialCluster lets things go all the same", name, l.Part, l.Scope))
		} else if now.Sub(l.At) > c.config.Policy.ListAge {
			g.unknown = append(g.unknown, oldListWords(l, name))
		}
	}
	return nil
}

// oldListWords says since when it is not known what a cluster needs.
func oldListWords(l store.Listing, cluster string) string {
	text := fmt.Sprintf("the %s of cluster %s were never listed whole", l.Part, cluster)
	if !l.At.IsZero() {
		text = fmt.Sprintf("the %s of cluster %s were last listed whole at %s", l.Part, cluster, l.At.Format(time.RFC3339))
	}
	if l.Problem != "" {
		text += ": " + l.Problem
	}
	return text
}

func placeWords(p dossier.Place, cluster string) string {
	what := "runs it"
	if p.Pod == "" {
		what = "names it in its template"
	}
	return fmt.Sprintf("%s in %s of cluster %s %s", workload(p.Kind, p.Workload.Name), p.Namespace, clusterName(cluster, p.Cluster), what)
}

func pinWords(p dossier.Pin, cluster string) string {
	text := workload(p.Kind, p.Name)
	if p.Owner != "" {
		text += " (" + p.Owner + ")"
	}
	return fmt.Sprintf("%s in %s of cluster %s names it", text, p.Namespace, clusterName(cluster, p.Cluster))
}

func workload(kind, name string) string { return kind + "/" + name }

func clusterName(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// watcher builds a guard.
type watcher struct {
	*guard
	reader store.Reader
	words  map[string]int          // of uses
	asked  map[string]int          // references as clusters write them, and the use
	whole  map[dossier.Digest]bool // what is needed with what lies around it
	queue  map[dossier.Digest]bool // those of whole that were not looked at yet
}

// use keeps what a cluster does, once.
func (w *watcher) use(words string) int {
	i, ok := w.words[words]
	if !ok {
		i = len(w.uses)
		w.words[words] = i
		w.uses = append(w.uses, words)
	}
	return i
}

// root notes what a cluster needs itself.
func (w *watcher) root(d dossier.Digest, use int) {
	if d != "" {
		w.add(d, need{use: use}, true)
	}
}

// add notes that a digest is needed, and if it is with what lies around it, that
// this is to be looked at.
func (w *watcher) add(d dossier.Digest, n need, whole bool) {
	if _, ok := w.needed[d]; !ok {
		w.needed[d] = n
	}
	if whole && !w.whole[d] {
		w.whole[d], w.queue[d] = true, true
	}
}

// ask notes a reference that a cluster names.
func (w *watcher) ask(ref string, use int) {
	if _, ok := w.asked[ref]; !ok {
		w.asked[ref] = use
	}
}

// resolve finds what the references mean in this registry, whatever host they
// name: a cluster may reach it by another name, or through a mirror.
func (w *watcher) resolve(ctx context.Context) error {
	host, err := w.reader.RegistryName(ctx)
	if err != nil {
		return err
	}
	uses := map[store.NameTag]int{}
	for ref, use := range w.asked {
		parsed, err := dossier.ParseReference(ref)
		if err != nil {
			continue // no cluster can pull it
		}
		parsed = parsed.WithDefaultTag()
		w.root(parsed.Digest, use)
		if parsed.Tag == "" {
			continue
		}
		for _, path := range []string{parsed.Repository, parsed.Name(), strings.TrimPrefix(parsed.Repository, "library/")} {
			uses[store.NameTag{Name: host + "/" + path, Tag: parsed.Tag}] = use
			uses[store.NameTag{Name: path, Tag: parsed.Tag}] = use // of a mirror
		}
	}
	list := make([]store.NameTag, 0, len(uses))
	for tag := range uses {
		list = append(list, tag)
	}
	open, err := w.reader.TagsAt(ctx, list, time.Time{})
	if err != nil {
		return err
	}
	for _, tag := range open {
		key := store.NameTag{Name: tag.Name, Tag: tag.Tag}
		w.root(tag.Digest, uses[key])
		w.tags[key] = uses[key]
		delete(uses, key)
	}
	return w.formerTags(ctx, host, uses)
}

// formerTags finds where tags pointed last that point nowhere now.
func (w *watcher) formerTags(ctx context.Context, host string, uses map[store.NameTag]int) error {
	there := map[string]bool{}
	for tag, use := range uses {
		own, known := there[tag.Name]
		if !known {
			_, err := w.reader.Repository(ctx, strings.TrimPrefix(tag.Name, host+"/"))
			if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
				return err
			}
			own = err == nil
			there[tag.Name] = own
		}
		if !own {
			continue
		}
		last, err := w.reader.TagHistory(ctx, tag.Name, tag.Tag, 1)
		if err != nil {
			return err
		}
		for _, i := range last {
			w.root(i.Digest, use)
		}
	}
	return nil
}

var errTooMany = errors.New("clusters need more than can be looked at")
