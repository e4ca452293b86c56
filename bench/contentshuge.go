// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

const (
	hugeMemory = 150 << 20
	hugeTests  = "^(TestMemory|TestHugeLayers)$"
)

// measureContentsHuge runs the tests of the memory that layers take, which make their
// layers while they are read, at full size. A test that fails fails the figure.
func measureContentsHuge(ctx context.Context, l *lab, r *report) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout=14m", "-run="+hugeTests, "./internal/contents")
	cmd.Dir, cmd.Env = l.root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "DOSSIER_TEST_LAYER=10240")
	if l.short {
		cmd.Env = append(cmd.Env, "DOSSIER_TEST_LAYER=64")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("a layer takes more than it may: %w\n%s", err, out[max(0, len(out)-2000):])
	}
	found := regexp.MustCompile(`(a layer of .+?),? in ([0-9.]+)s; held at most (\d+) MiB`).FindAllStringSubmatch(string(out), -1)
	if len(found) != 3 {
		return fmt.Errorf("the tests tell of %d layers, want 3:\n%s", len(found), out)
	}
	for _, f := range found {
		held, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return err
		}
		r.note(f[1], "read in %s s", f[2])
		r.bounded("  memory of the process", held<<20, hugeMemory)
	}
	return nil
}
