// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// pageLength returns how many entries a page has at most.
func (q *Request) pageLength(most int) int {
	if q.N < 0 {
		return most
	}
	return min(q.N, most)
}

// next tells the client where the next page is ("Listing Tags").
func (c *call) next(path, last string, n int) {
	query := url.Values{"last": {last}}
	if c.N >= 0 {
		query.Set("n", strconv.Itoa(n))
	}
	if c.ArtifactType != "" {
		query.Set("artifactType", c.ArtifactType)
	}
	if c.Namespace != "" {
		path = c.r.URL.Path
		query.Set("ns", c.Namespace)
	}
	c.w.Header().Set("Link", "<"+path+"?"+query.Encode()+`>; rel="next"`)
}

// listTags lists the tags of a repository ("Listing Tags").
func (c *call) listTags(ctx context.Context) error {
	n := c.pageLength(MaxPage)
	var tags []string
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		repo, err := r.Repository(ctx, c.Repository)
		if err == nil && n > 0 {
			tags, err = r.OpenTags(ctx, repo.Name, c.Last, n+1)
		}
		return err
	})
	if err != nil {
		return when(err, dossier.KindNotFound, CodeNameUnknown)
	}
	c.sendTags(tags, n)
	return nil
}

// sendTags sends a page of tags: up to n of those, of which there may be more.
func (c *call) sendTags(tags []string, n int) {
	if len(tags) > n {
		if tags = tags[:n]; n > 0 {
			c.next("/v2/"+c.Repository+"/tags/list", tags[n-1], n)
		}
	}
	respond(c.w, c.r, http.StatusOK, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.Repository, orEmpty(tags)})
}

// listRepositories lists the repositories that the caller may pull from.
func (c *call) listRepositories(ctx context.Context) error {
	n := c.pageLength(MaxPage)
	atOnce := n + 1
	if c.config.Guard != nil {
		atOnce = MaxPage // of which the caller may see few
	}
	paths := []string{}
	after := c.Last
	for n > 0 && len(paths) <= n {
		var list []store.Repository
		err := c.config.Store.View(ctx, func(r store.Reader) (err error) {
			list, err = r.Repositories(ctx, after, atOnce)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range list { // more than n+1 paths are cut below
			if after = r.Path; c.lists(ctx, r.Path) {
				paths = append(paths, r.Path)
			}
		}
		if len(list) < atOnce {
			break
		}
	}
	if len(paths) > n {
		paths = paths[:n]
		c.next("/v2/_catalog", paths[n-1], n)
	}
	respond(c.w, c.r, http.StatusOK, struct {
		Repositories []string `json:"repositories"`
	}{paths})
	return nil
}

// orEmpty makes an empty list of none, which JSON tells apart.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// descriptor is one entry of a list of referrers.
type descriptor struct {
	MediaType    string          `json:"mediaType"`
	Digest       dossier.Digest  `json:"digest"`
	Size         int64           `json:"size"`
	ArtifactType string          `json:"artifactType,omitempty"`
	Annotations  json.RawMessage `json:"annotations,omitempty"`
}

// listReferrers lists the manifests that refer to one, there or not ("Listing
// Referrers"). A page ends early when its annotations are large.
func (c *call) listReferrers(ctx context.Context) error {
	const atOnce = 16 // annotations can be megabytes each
	n, size, more := c.pageLength(maxReferrers), 0, false
	var list []descriptor
	err := c.config.Store.View(ctx, func(r store.Reader) error {
		list, size, more = []descriptor{}, 0, false
		q := store.ReferrerQuery{
			Repository: c.Repository, Subject: c.Digest, ArtifactType: c.ArtifactType, After: dossier.Digest(c.Last), Limit: atOnce,
		}
		for n > 0 {
			found, err := r.Referrers(ctx, q)
			if err != nil {
				return err
			}
			for _, m := range found {
				if len(list) == n || len(list) > 0 && size+len(m.Annotations) > maxReferrersBytes {
					more = true
					return nil
				}
				list = append(list, descriptor{m.MediaType, m.Digest, m.Size, m.ArtifactType, m.Annotations})
				size += len(m.Annotations)
				q.After = m.Digest
			}
			if len(found) < atOnce {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.sendReferrers(list, more, n)
	return nil
}

// sendReferrers sends a page of referrers.
func (c *call) sendReferrers(list []descriptor, more bool, n int) {
	if more {
		c.next("/v2/"+c.Repository+"/referrers/"+string(c.Digest), string(list[len(list)-1].Digest), n)
	}
	header := c.w.Header()
	header.Set("Content-Type", mediaIndex)
	if c.ArtifactType != "" {
		header.Set("OCI-Filters-Applied", "artifactType")
	}
	respond(c.w, c.r, http.StatusOK, struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, mediaIndex, list})
}

const mediaIndex = "application/vnd.oci.image.index.v1+json"
