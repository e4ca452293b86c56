// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// machine is where the steps run: what it has, and how to get more.
type machine struct {
	has     func(program string) bool
	install func(ctx context.Context, packages []string) error
	// cannot says why nothing can be installed; empty when it can.
	cannot string
}

// newMachine returns this machine. What installing prints goes to out.
func newMachine(out io.Writer) *machine {
	m := &machine{has: present}
	apt, err := exec.LookPath("apt-get")
	switch {
	case err != nil:
		m.cannot = "no apt-get here"
	case os.Geteuid() != 0:
		m.cannot = "not root"
	}
	m.install = func(ctx context.Context, packages []string) error {
		for _, args := range [][]string{
			{"-qq", "update"},
			append([]string{"-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "install"}, packages...),
		} {
			cmd := exec.CommandContext(ctx, apt, args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("running apt-get %s: %w", strings.Join(args, " "), err)
			}
		}
		return nil
	}
	return m
}

// present reports whether a program is there: a name in PATH, or a pattern of
// paths.
func present(program string) bool {
	if !strings.Contains(program, "/") {
		_, err := exec.LookPath(program)
		return err == nil
	}
	found, err := filepath.Glob(program)
	return err == nil && len(found) > 0
}

// provide makes sure that a need is met, and says why when it is not.
func (m *machine) provide(ctx context.Context, n need) (why string) {
	missing := func() bool {
		return slices.ContainsFunc(n.programs, func(p string) bool { return !m.has(p) })
	}
	if !missing() {
		return ""
	}
	packages := strings.Join(n.packages, " ")
	if m.cannot != "" {
		return fmt.Sprintf("%s is missing (Debian: %s) and cannot be installed: %s", n.what, packages, m.cannot)
	}
	if err := m.install(ctx, n.packages); err != nil {
		return fmt.Sprintf("%s is missing (Debian: %s): %v", n.what, packages, err)
	}
	if missing() {
		return fmt.Sprintf("%s is missing even after installing %s", n.what, packages)
	}
	return ""
}
