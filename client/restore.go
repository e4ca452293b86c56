// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"dossier.dev/dossier"
)

const opRestore = "restoring tag"

// maxManifest is how many bytes of a manifest are read.
const maxManifest = 4 << 20

// Restore points a tag of the server's registry at what it pointed at at a time,
// by pushing that manifest under it: the rules of a push hold. It returns what
// changed; its Change is empty when the tag pointed there already.
// KindNotFound: it pointed at nothing then, or the manifest is gone.
// KindConflict: the tag does not move. KindDenied. KindInvalid: ref is no tag of
// the server's registry.
func (c *Client) Restore(ctx context.Context, ref string, at time.Time) (dossier.TagChange, error) {
	parsed, err := dossier.ParseReference(ref)
	if err != nil {
		return dossier.TagChange{}, err
	}
	if parsed.Tag == "" || parsed.Digest != "" {
		return dossier.TagChange{}, dossier.Errorf(dossier.KindInvalid, opRestore, ref, "want NAME:TAG")
	}
	if err := c.checkRegistry(ctx, parsed); err != nil {
		return dossier.TagChange{}, err
	}
	then, err := c.History(ctx, ref, at)
	if err != nil {
		return dossier.TagChange{}, err
	}
	if len(then.Tags) != 1 || then.Tags[0].Name != parsed.Name() || then.Tags[0].Tag != parsed.Tag {
		return dossier.TagChange{}, dossier.Errorf(dossier.KindNotFound, opRestore, ref, "it pointed at nothing then")
	}
	change := dossier.TagChange{Tag: parsed.Tag, Now: then.Tags[0].Digest}
	now, _, err := c.manifest(ctx, http.MethodHead, parsed.Repository, parsed.Tag, nil, "")
	if err != nil && dossier.KindOf(err) != dossier.KindNotFound {
		return change, err
	}
	change.Was = dossier.Digest(now.Get("Docker-Content-Digest"))
	header, body, err := c.manifest(ctx, http.MethodGet, parsed.Repository, string(change.Now), nil, "")
	if err != nil {
		return change, err
	}
	if !change.Now.Matches(body) {
		return change, dossier.Errorf(dossier.KindCorrupt, opRestore, ref, "the manifest that came has another digest than "+string(change.Now))
	}
	put, _, err := c.manifest(ctx, http.MethodPut, parsed.Repository, parsed.Tag, body, header.Get("Content-Type"))
	if err != nil {
		return change, err
	}
	switch change.Was {
	case change.Now:
	case "":
		change.Change = dossier.TagAdded
	default:
		change.Change = dossier.TagMoved
	}
	change.At, _ = http.ParseTime(put.Get("Date")) // of the server; zero when it says none
	return change, nil
}

// checkRegistry makes sure that a reference is of the server's own registry:
// the server knows tags of others, too.
func (c *Client) checkRegistry(ctx context.Context, ref dossier.Reference) error {
	header, _, err := c.registry(ctx, http.MethodGet, "/v2/", nil, "")
	if err != nil {
		return err
	}
	if name := header.Get("Dossier-Registry"); name != ref.Registry {
		e := &dossier.Error{Kind: dossier.KindInvalid, Op: opRestore, Subject: ref.String(),
			Err: fmt.Errorf("the registry of the server is called %q", name)}
		if name != "" {
			e.Hint = "write it as " + name + "/" + strings.TrimPrefix(ref.Repository, "library/") + ":" + ref.Tag
		}
		return e
	}
	return nil
}

// manifest asks for a manifest, or puts one.
func (c *Client) manifest(ctx context.Context, method, repository, name string, body []byte, mediaType string) (http.Header, []byte, error) {
	return c.registry(ctx, method, "/v2/"+repository+"/manifests/"+name, body, mediaType)
}

// registry sends a request of the distribution specification.
func (c *Client) registry(ctx context.Context, method, path string, body []byte, mediaType string) (http.Header, []byte, error) {
	u := c.base
	u.Path = strings.TrimSuffix(u.Path, apiPath) + path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "asking", Subject: c.name(), Err: err}
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	read := &limited{r: resp.Body, left: maxManifest}
	b, err := io.ReadAll(read)
	if err != nil {
		return nil, nil, c.readError(ctx, read, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, nil, c.registryRefusal(resp, b)
	}
	return resp.Header, b, nil
}

// registryRefusal makes an error of an answer of the registry ("Error Codes").
func (c *Client) registryRefusal(resp *http.Response, body []byte) error {
	var told struct {
		Errors []struct {
			Code, Message string
			Detail        struct{ Hint string }
		}
	}
	e := &dossier.Error{Kind: kindOf(resp.StatusCode), Op: "asking", Subject: c.name(), Err: fmt.Errorf("it answers %q", resp.Status)}
	if resp.StatusCode == http.StatusConflict {
		e.Kind = dossier.KindConflict
	}
	if json.Unmarshal(body, &told) == nil && len(told.Errors) > 0 && told.Errors[0].Message != "" {
		e.Err, e.Hint = errors.New(told.Errors[0].Message), told.Errors[0].Detail.Hint
	}
	return e
}
