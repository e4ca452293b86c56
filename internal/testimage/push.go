// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package testimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"dossier.dev/dossier"
)

// Push uploads c to the registry at base, "http://127.0.0.1:5000", as
// repository:tag; without a tag it can be had by digest alone. A nil client is
// http.DefaultClient.
func Push(ctx context.Context, client *http.Client, base, repository, tag string, c *Content) error {
	if client == nil {
		client = http.DefaultClient
	}
	p := pusher{client: client, base: strings.TrimSuffix(base, "/") + "/v2/" + repository}
	for _, b := range c.Blobs {
		if err := p.blob(ctx, b); err != nil {
			return err
		}
	}
	for _, m := range c.Manifests {
		if err := p.put(ctx, p.base+"/manifests/"+string(m.Digest), m); err != nil {
			return err
		}
	}
	if tag == "" || len(c.Manifests) == 0 {
		return nil
	}
	return p.put(ctx, p.base+"/manifests/"+tag, c.Manifests[len(c.Manifests)-1])
}

type pusher struct {
	client *http.Client
	base   string // of the repository
}

// blob uploads in two steps, which every registry knows (distribution spec,
// "POST then PUT").
func (p pusher) blob(ctx context.Context, b Blob) error {
	location, err := p.do(ctx, http.MethodPost, p.base+"/blobs/uploads/", Blob{})
	if err != nil {
		return err
	}
	u, err := url.Parse(p.base)
	if err != nil {
		return fmt.Errorf("pushing %s: %w", b.Digest, err)
	}
	to, err := u.Parse(location)
	if err != nil {
		return fmt.Errorf("pushing %s: %w", b.Digest, err)
	}
	q := to.Query()
	q.Set("digest", string(b.Digest))
	to.RawQuery = q.Encode()
	return p.put(ctx, to.String(), Blob{MediaType: "application/octet-stream", Bytes: b.Bytes})
}

func (p pusher) put(ctx context.Context, to string, b Blob) error {
	_, err := p.do(ctx, http.MethodPut, to, b)
	return err
}

// do sends b and returns the Location of the answer, which must be a 2xx.
func (p pusher) do(ctx context.Context, method, to string, b Blob) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(b.Bytes))
	if err != nil {
		return "", fmt.Errorf("pushing: %w", err)
	}
	if b.MediaType != "" {
		req.Header.Set("Content-Type", b.MediaType)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("pushing: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("pushing: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return "", dossier.Errorf(dossier.KindUnavailable, "pushing", to, fmt.Sprintf("%s: %s", resp.Status, body))
	}
	return resp.Header.Get("Location"), nil
}
