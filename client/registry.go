// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/url"

	"dossier.dev/dossier"
)

// Why says why the server's registry keeps a digest, or when and why it goes; in
// one repository when a path is given. KindNotFound: nothing was ever kept of it,
// or the server is no registry.
func (c *Client) Why(ctx context.Context, repository string, d dossier.Digest) (dossier.Keeping, error) {
	query := url.Values{"digest": {string(d)}}
	if repository != "" {
		query.Set("repository", repository)
	}
	var k dossier.Keeping
	err := c.get(ctx, []string{"registry", "why"}, query, &k)
	return k, err
}

// Plan says what a collection of the registry's garbage would take away now.
func (c *Client) Plan(ctx context.Context) (dossier.Collection, error) {
	var collection dossier.Collection
	err := c.get(ctx, []string{"registry", "garbage"}, nil, &collection)
	return collection, err
}

// Damage returns the blobs of the server's registry that are known to be damaged,
// after one and by digest.
func (c *Client) Damage(ctx context.Context, after dossier.Digest) (dossier.DamageList, error) {
	query := url.Values{}
	if after != "" {
		query.Set("after", string(after))
	}
	var list dossier.DamageList
	err := c.get(ctx, []string{"registry", "damage"}, query, &list)
	return list, err
}

// Quotas says how much of each quota of the server's registry is used.
func (c *Client) Quotas(ctx context.Context) (dossier.QuotaList, error) {
	var list dossier.QuotaList
	err := c.get(ctx, []string{"registry", "quotas"}, nil, &list)
	return list, err
}
