// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"dossier.dev/dossier"
)

// tufPath is where a server has signed metadata (docs/spec/tuf.md).
const tufPath = "/tuf/"

// TUFFile reads a file of signed metadata, such as "timestamp.json", of a prefix.
// KindNotFound. KindLimit: it has more than limit bytes.
func (c *Client) TUFFile(ctx context.Context, prefix, name string, limit int64) ([]byte, error) {
	return c.tuf(ctx, http.MethodGet, prefix+"/"+name, nil, limit)
}

// PublishTUF publishes what owners have signed: {"roots": [...], "roles": {...}} as JSON.
// KindDenied: too few have signed. KindConflict: a version goes back. KindInvalid.
func (c *Client) PublishTUF(ctx context.Context, prefix string, publication any) error {
	body, err := json.Marshal(publication)
	if err != nil {
		return &dossier.Error{Kind: dossier.KindInternal, Op: "publishing metadata", Err: err}
	}
	_, err = c.tuf(ctx, http.MethodPost, prefix, body, maxProblem)
	return err
}

// NewTUFKey lets a server make a further online key, and returns its public half in PEM.
func (c *Client) NewTUFKey(ctx context.Context, prefix string) ([]byte, error) {
	return c.tuf(ctx, http.MethodPost, prefix+"/online.pub", []byte("{}"), maxProblem)
}

func (c *Client) tuf(ctx context.Context, method, path string, body []byte, limit int64) ([]byte, error) {
	u := c.base
	u.Path = strings.TrimSuffix(u.Path, apiPath) + tufPath + path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "asking", Subject: c.name(), Err: err}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return nil, c.refusal(resp)
	}
	answer := &limited{r: resp.Body, left: limit}
	text, err := io.ReadAll(answer)
	if err != nil {
		return nil, c.readError(ctx, answer, err)
	}
	return text, nil
}
