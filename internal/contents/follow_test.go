// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"strings"
	"testing"
)

// FuzzFollow compares the quick ways to follow symbolic links with the slow one.
func FuzzFollow(f *testing.F) {
	f.Add("bin", "usr/bin", "usr/bin/x", "../../lib/y", "lib", "/usr/lib")
	f.Add("a", "b", "b", "a", "a/b", "../a")
	f.Add("usr/lib/a", "../../../x/../y", "y", ".", "z", "..")
	f.Fuzz(func(t *testing.T, link1, target1, link2, target2, link3, target3 string) {
		tree := newTree()
		for _, l := range [][2]string{{link1, target1}, {link2, target2}, {link3, target3}} {
			if at := cleanName(l[0]); at != "" && len(l[0])+len(l[1]) < 200 {
				tree.links[tree.parent(at)] = l[1]
				clear(tree.resolved)
			}
		}
		for link, target := range tree.links {
			if got, want := tree.follow(link), tree.walk(link); got != want {
				t.Errorf("links %q: follow(%q) = %q, want %q", tree.links, link, got, want)
			}
			for _, p := range []string{link, target, link + "/a", target + "/../b", strings.TrimPrefix(target, "/")} {
				if got, want := tree.resolve(p), tree.walk(p); got != want {
					t.Errorf("links %q: resolve(%q) = %q, want %q", tree.links, p, got, want)
				}
			}
		}
	})
}
