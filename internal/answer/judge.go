// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import "dossier.dev/dossier"

// Judge answers the five questions from evidence.
func Judge(e Evidence, p Policy) dossier.Answers { return judge(e, p, nil) }

// judge is Judge with a parser, which may know the facts already.
func judge(e Evidence, p Policy, with *Parser) dossier.Answers {
	s := read(e, p, with)
	return dossier.Answers{
		What:            judgeWhat(s),
		Origin:          judgeOrigin(s),
		Rebuild:         judgeRebuild(s),
		Vulnerabilities: judgeVulnerabilities(s),
		Currency:        judgeCurrency(s),
	}
}
