// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// knownAs returns the reference under which something is known. What is pulled
// through the own registry, HOST/docker.io/library/nginx, has the name that it
// has elsewhere. Anything else stays as it is.
func knownAs(ctx context.Context, r store.Reader, s string) (string, error) {
	ref, err := dossier.ParseReference(s)
	if err != nil || dossier.IsLocal(s) || dossier.IsDigestPrefix(s) {
		return s, nil
	}
	host, err := r.RegistryName(ctx)
	if err != nil || host == "" || ref.Registry != host {
		return s, err
	}
	repo, err := r.Repository(ctx, ref.Repository)
	if dossier.KindOf(err) == dossier.KindNotFound {
		return s, nil
	}
	if err != nil || repo.Upstream == "" {
		return s, err
	}
	there, err := dossier.ParseReference(repo.Name)
	there.Tag, there.Digest = ref.Tag, ref.Digest
	return there.String(), err
}
