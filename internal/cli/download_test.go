// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/image"
)

// scriptDownload: [!] download VAR REPOSITORY:TAG pulls an image from the server
// at $VAR; ! says that it is refused.
func scriptDownload(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: download VAR REPOSITORY:TAG")
	}
	err := download(strings.TrimPrefix(ts.Getenv(args[0]), "http://") + "/" + args[1])
	if (err != nil) != neg {
		ts.Fatalf("pulling %s: %v", args[1], err)
	}
}

func download(ref string) error {
	ctx, c := context.Background(), &image.Client{Keychain: image.NoCredentials{}}
	defer c.CloseIdle()
	tree, err := c.Read(ctx, ref, image.ReadOptions{})
	if err != nil {
		return err
	}
	for _, n := range tree.Nodes {
		for _, e := range n.Edges {
			if e.Role != dossier.RoleLayer {
				continue
			}
			layer, err := c.Layer(ctx, ref, image.Descriptor{MediaType: e.MediaType, Digest: e.Child, Size: e.Size})
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, layer)
			if err := errors.Join(err, layer.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}
