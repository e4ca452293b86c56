// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"path"
	"strings"
)

// isWindows reports whether an entry is one that only layers of Windows have: a hive of
// the registry beside the files, or what tar keeps of NTFS in records of PAX
// (MSWINDOWS.fileattr, .rawsd, .mountpoint).
func isWindows(p string, records map[string]string) bool {
	if path.Dir(p) == "Hives" {
		return true
	}
	for name := range records {
		if strings.HasPrefix(name, "MSWINDOWS.") {
			return true
		}
	}
	return false
}
