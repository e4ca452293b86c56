// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import "dossier.dev/dossier"

// judgeVulnerabilities follows docs/spec/answers.md, "vulnerabilities".
func judgeVulnerabilities(s *survey) dossier.Answer {
	return s.draft().unknown("not scanned", "Scanning is not configured in this version; nothing is known, good or bad.")
}
