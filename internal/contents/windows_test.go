// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWindowsLayersAreSaidToBe: what is installed in Windows lies in its registry, which is
// not read. That is told, and no image of Windows passes for one without packages;
// packages of applications are found.
func TestWindowsLayersAreSaidToBe(t *testing.T) {
	attributed := file("Files/app/node_modules/a/package.json", npm("a", "1.0.0"))
	attributed.PAXRecords = map[string]string{"MSWINDOWS.fileattr": "32"}
	reparse := symlink("Files/Program Files/app", `C:\app`)
	reparse.PAXRecords = map[string]string{"MSWINDOWS.mountpoint": "1"}
	for name, layer := range map[string][]entry{
		"attributes":   {dir("Files"), attributed},
		"registry":     {dir("Files"), dir("Hives"), file("Hives/Software_Base", "regf"), file("Files/app/node_modules/a/package.json", npm("a", "1.0.0"))},
		"reparse only": {reparse, file("Files/app/node_modules/a/package.json", npm("a", "1.0.0"))},
	} {
		image := readImage(t, layer)
		if diff := cmp.Diff([]string{"pkg:npm/a@1.0.0 0 Files/app/node_modules/a/package.json"}, purls(image)); diff != "" {
			t.Errorf("%s: packages (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]string{"Hives windows"}, reasons(image.Missed)); diff != "" {
			t.Errorf("%s: missed (-want +got):\n%s", name, diff)
		}
	}
	image := readImage(t, []entry{file("Files/app/node_modules/a/package.json", npm("a", "1.0.0"))})
	if len(image.Missed) > 0 {
		t.Errorf("a directory that is called Files: %v", image.Missed)
	}
	above := readImage(t,
		[]entry{dir("Hives"), file("Hives/Software_Base", "regf"), file("Files/app/node_modules/a/package.json", npm("a", "1.0.0"))},
		[]entry{gone("Files/app/node_modules/a"), file("Hives/Software_Delta", "regf")})
	if len(above.Packages) != 0 || len(above.Missed) != 2 {
		t.Errorf("a whiteout under Files: packages %v, missed %v", purls(above), above.Missed)
	}
}
