// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"time"

	"dossier.dev/dossier"
)

// Images returns every image that q selects.
func (c *Client) Images(ctx context.Context, q dossier.ImagesQuery) (dossier.ImageList, error) {
	var list dossier.ImageList
	err := c.get(ctx, []string{"images"}, imagesQuery(q), &list)
	return list, err
}

// Dossier answers the five questions about what ref means: a digest or a unique
// prefix of one, a reference, or a name with a single tag.
// KindNotFound: the server knows nothing that is called so. KindConflict: it
// knows several.
func (c *Client) Dossier(ctx context.Context, ref string, at dossier.Times) (dossier.Dossier, error) {
	query := url.Values{"ref": {ref}}
	setTimes(query, at)
	var d dossier.Dossier
	err := c.get(ctx, []string{"dossiers"}, query, &d)
	return d, err
}

// Proof returns what Dossier does as a file that also proves it (docs/spec/proof.md). Errors are
// those of Dossier; KindUnsupported: the server has no key of a log.
func (c *Client) Proof(ctx context.Context, ref string, at dossier.Times) ([]byte, error) {
	query := url.Values{"ref": {ref}}
	setTimes(query, at)
	var file json.RawMessage
	err := c.get(ctx, []string{"proofs"}, query, &file)
	return file, err
}

// Log returns a resource of the server's log, "checkpoint" or a tile (docs/spec/log.md).
// KindNotFound: the log does not have it yet.
func (c *Client) Log(ctx context.Context, path string) ([]byte, error) {
	resp, err := c.doAt(ctx, c.base.JoinPath("..", "..", "log", path), url.Values{})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body := &limited{r: resp.Body, left: maxTile}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, c.readError(ctx, body, err)
	}
	return b, nil
}

// Digest answers the five questions about a digest. Errors are those of Dossier.
func (c *Client) Digest(ctx context.Context, d dossier.Digest, at dossier.Times) (dossier.Dossier, error) {
	query := url.Values{}
	setTimes(query, at)
	var found dossier.Dossier
	err := c.getOf(ctx, d, []string{"digests", string(d)}, query, &found)
	return found, err
}

// Tags returns the tags that point at a digest at a time; zero: now. It asks for
// them page by page.
func (c *Client) Tags(ctx context.Context, d dossier.Digest, at time.Time) (dossier.TagList, error) {
	query := url.Values{}
	setTime(query, "at", at)
	var list dossier.TagList
	for {
		var page dossier.TagList
		if err := c.getOf(ctx, d, []string{"digests", string(d), "tags"}, query, &page); err != nil {
			return list, err
		}
		next, last := page.Next, len(page.Tags) == 0
		page.Tags, page.Next = append(list.Tags, page.Tags...), ""
		list = page
		switch {
		case next == "" || last:
			return list, nil
		case len(list.Tags) > maxTags: // also of a server that would never end
			return list, dossier.Errorf(dossier.KindLimit, "listing the tags of", string(d), fmt.Sprintf("it has more than %d", maxTags))
		}
		query.Set("after", next)
	}
}

// maxTags is how many tags one call returns at most.
const maxTags = 1_000_000

// Where finds at most limit images by a term.
func (c *Client) Where(ctx context.Context, term string, limit int) (dossier.FoundList, error) {
	var list dossier.FoundList
	err := c.get(ctx, []string{"where"}, url.Values{"term": {term}, "limit": {strconv.Itoa(limit)}}, &list)
	return list, err
}

// History returns the tags over time and the layers of what ref means; of a
// repository when ref ends in a slash. With a time it returns what was so then.
func (c *Client) History(ctx context.Context, ref string, at time.Time) (dossier.History, error) {
	query := url.Values{"ref": {ref}}
	setTime(query, "at", at)
	var h dossier.History
	err := c.get(ctx, []string{"history"}, query, &h)
	return h, err
}

// Changes compares the tags of a repository at two times.
func (c *Client) Changes(ctx context.Context, q dossier.TagDiffQuery) (dossier.TagDiff, error) {
	query := url.Values{"repository": {q.Repository}}
	setTime(query, "from", q.From)
	setTime(query, "to", q.To)
	if q.After != "" {
		query.Set("after", q.After)
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var diff dossier.TagDiff
	err := c.get(ctx, []string{"changes"}, query, &diff)
	return diff, err
}

// SBOM lists what the image that a reference means holds. Errors are those of
// Dossier. KindNotFound also: its layers were not read yet, or it is not for the
// platform.
func (c *Client) SBOM(ctx context.Context, q dossier.SBOMQuery) (dossier.SBOM, error) {
	query := url.Values{"ref": {q.Ref}}
	if q.Platform != "" {
		query.Set("platform", q.Platform)
	}
	setTimes(query, q.At)
	var s dossier.SBOM
	err := c.get(ctx, []string{"sbom"}, query, &s)
	return s, err
}

// Findings lists what advisories say of what an image holds. Errors are those of
// SBOM. KindNotFound also: the server has no advisories.
func (c *Client) Findings(ctx context.Context, q dossier.FindingQuery) (dossier.FindingList, error) {
	var list dossier.FindingList
	err := c.get(ctx, []string{"vulnerabilities"}, findingQuery(q), &list)
	return list, err
}

// Explain says why packages of an image have a vulnerability, or do not. Errors
// are those of Findings. KindNotFound also: no advisory names it.
func (c *Client) Explain(ctx context.Context, q dossier.FindingQuery, id string) (dossier.Explanation, error) {
	query := findingQuery(q)
	query.Set("id", id)
	var e dossier.Explanation
	err := c.get(ctx, []string{"explanation"}, query, &e)
	return e, err
}

func findingQuery(q dossier.FindingQuery) url.Values {
	query := url.Values{"ref": {q.Ref}}
	if q.Platform != "" {
		query.Set("platform", q.Platform)
	}
	if q.Attached {
		query.Set("vex", "attached")
	}
	setTimes(query, q.At)
	return query
}

// Audit returns a page of what was done in the registry, newest first.
func (c *Client) Audit(ctx context.Context, q dossier.AuditQuery) (dossier.AuditList, error) {
	query := url.Values{}
	for name, value := range map[string]string{
		"repository": q.Repository, "tag": q.Tag, "digest": string(q.Digest), "who": q.Who, "pod": q.Pod, "address": q.Address,
		"action": string(q.Action), "before": q.Before,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.Denied {
		query.Set("denied", "true")
	}
	setTime(query, "since", q.Since)
	setTime(query, "until", q.Until)
	if q.Limit != 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var list dossier.AuditList
	err := c.get(ctx, []string{"audit"}, query, &list)
	return list, err
}

// Clusters returns the clusters that the server knows.
func (c *Client) Clusters(ctx context.Context) (dossier.ClusterList, error) {
	var list dossier.ClusterList
	err := c.get(ctx, []string{"clusters"}, nil, &list)
	return list, err
}

// Upstreams says how it stands with the registries that the server pulls through.
func (c *Client) Upstreams(ctx context.Context) (dossier.UpstreamList, error) {
	var list dossier.UpstreamList
	err := c.get(ctx, []string{"upstreams"}, nil, &list)
	return list, err
}

// Jobs says how the server's work stands, and what of it fails.
func (c *Client) Jobs(ctx context.Context) (dossier.JobList, error) {
	var list dossier.JobList
	err := c.get(ctx, []string{"jobs"}, nil, &list)
	return list, err
}

// Fact returns the fact with that ID, or KindNotFound.
func (c *Client) Fact(ctx context.Context, id dossier.Digest) (dossier.Fact, error) {
	var f dossier.Fact
	err := c.getOf(ctx, id, []string{"facts", string(id)}, nil, &f)
	return f, err
}

// Facts yields all facts about a subject by rising Seq, asking for them page by
// page.
func (c *Client) Facts(ctx context.Context, subject dossier.Digest) iter.Seq2[dossier.Fact, error] {
	return func(yield func(dossier.Fact, error) bool) {
		for after := int64(0); ; {
			var page dossier.FactList
			query := url.Values{"after": {strconv.FormatInt(after, 10)}}
			if err := c.getOf(ctx, subject, []string{"subjects", string(subject), "facts"}, query, &page); err != nil {
				yield(dossier.Fact{}, err)
				return
			}
			for _, f := range page.Facts {
				if !yield(f, nil) {
					return
				}
			}
			if page.Next <= after { // also of a server that would never end
				return
			}
			after = page.Next
		}
	}
}

// getOf is get for a path that holds a digest, which must be one.
func (c *Client) getOf(ctx context.Context, d dossier.Digest, path []string, query url.Values, v any) error {
	if _, err := dossier.ParseDigest(string(d)); err != nil {
		return err
	}
	return c.get(ctx, path, query, v)
}

func imagesQuery(q dossier.ImagesQuery) url.Values {
	query := url.Values{}
	for _, id := range q.Clusters {
		query.Add("cluster", id)
	}
	for _, n := range q.Namespaces {
		query.Add("namespace", n)
	}
	if q.Selector != "" {
		query.Set("selector", q.Selector)
	}
	setTimes(query, q.At)
	return query
}

func setTimes(query url.Values, at dossier.Times) {
	setTime(query, "at", at.Valid)
	setTime(query, "knownAt", at.Recorded)
}

func setTime(query url.Values, key string, t time.Time) {
	if !t.IsZero() {
		query.Set(key, t.UTC().Format(time.RFC3339Nano))
	}
}
