// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"dossier.dev/dossier"
)

const (
	opKEV  = "reading catalogue of exploited vulnerabilities"
	opEPSS = "reading EPSS scores"
)

// ReadKEV reads CISA's catalogue of vulnerabilities that are known to be exploited
// (JSON), and returns when each was added.
func ReadKEV(b []byte, limits Limits) (map[string]time.Time, error) {
	limits = limits.orDefault()
	if err := checkDocument(opKEV, b, limits); err != nil {
		return nil, err
	}
	var catalogue struct {
		Version         string `json:"catalogVersion"`
		Vulnerabilities []struct {
			CVE   string `json:"cveID"`
			Added string `json:"dateAdded"`
		} `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(b, &catalogue); err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: opKEV, Err: err}
	}
	if len(catalogue.Vulnerabilities) == 0 {
		return nil, invalidDocument(opKEV, "it has none")
	}
	out := make(map[string]time.Time, len(catalogue.Vulnerabilities))
	for i, v := range catalogue.Vulnerabilities {
		added, err := time.Parse(time.DateOnly, v.Added)
		if err != nil || !idPattern.MatchString(v.CVE) {
			return nil, invalidDocument(opKEV, "entry %d has the ID %q and was added on %q", i+1, short(v.CVE), short(v.Added))
		}
		out[v.CVE] = added
	}
	return out, nil
}

// maxEPSS bounds the scores that are read.
const maxEPSS = 2_000_000

// ReadEPSS reads how likely it is that vulnerabilities are exploited, by FIRST's
// Exploit Prediction Scoring System: CSV with the columns cve, epss and percentile, plain
// or compressed by gzip. Lines that begin with # are passed over.
func ReadEPSS(r io.Reader, limits Limits) (map[string]dossier.Exploit, error) {
	limits = limits.orDefault()
	fail := func(err error) error {
		return &dossier.Error{Kind: kindOr(err, dossier.KindInvalid), Op: opEPSS, Err: err}
	}
	head := bufio.NewReader(r)
	if magic, _ := head.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(head)
		if err != nil {
			return nil, fail(err)
		}
		r = z
	} else {
		r = head
	}
	bounded := &bounded{r: r, left: limits.Table, limit: "Table"}
	out := map[string]dossier.Exploit{}
	lines := bufio.NewScanner(bounded)
	titled := false
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if !titled {
			if titled = line == "cve,epss,percentile"; !titled {
				return nil, fail(fmt.Errorf("line %d is %q, not the names of the columns", n, short(line)))
			}
			continue
		}
		id, l, err := parseEPSS(line)
		if err != nil {
			return nil, fail(fmt.Errorf("line %d: %w", n, err))
		}
		if len(out) >= maxEPSS {
			return nil, fail(dossier.Errorf(dossier.KindLimit, "", "", fmt.Sprintf("there are more than %d scores", maxEPSS)))
		}
		out[id] = l
	}
	if err := lines.Err(); err != nil {
		return nil, fail(err)
	}
	if len(out) == 0 {
		return nil, fail(fmt.Errorf("there are no scores"))
	}
	return out, nil
}

// parseEPSS reads a line.
func parseEPSS(line string) (id string, l dossier.Exploit, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 || !idPattern.MatchString(fields[0]) || len(fields[0]) > 64 {
		return "", l, fmt.Errorf("%q is no score", short(line))
	}
	for i, to := range []*float64{&l.Probability, &l.Percentile} {
		if *to, err = strconv.ParseFloat(fields[i+1], 64); err != nil || !(*to >= 0 && *to <= 1) {
			return "", l, fmt.Errorf("%q is no number from 0 to 1", short(fields[i+1]))
		}
	}
	return fields[0], l, nil
}

// bounded is a reader that fails beyond a limit.
type bounded struct {
	r     io.Reader
	left  int64
	limit string
}

// Read reads, or fails when there is more than the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, dossier.Errorf(dossier.KindLimit, "", "", "there is more than the limit "+b.limit)
	}
	return n, err
}
