// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import "dossier.dev/dossier"

// Judge answers the five questions from evidence.
func Judge(e Evidence, p Policy) dossier.Answers {
	s := read(e, p)
	return dossier.Answers{
		What:            judgeWhat(s),
		Origin:          judgeOrigin(s),
		Rebuild:         judgeRebuild(s),
		Vulnerabilities: judgeVulnerabilities(s),
		Currency:        judgeCurrency(s),
	}
}
