// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package answer

import "testing"

// TestNextBatch: fewer images are in memory at a time the more findings each has.
func TestNextBatch(t *testing.T) {
	for _, tt := range []struct{ images, findings, suppressed, want int }{
		{1, 0, 0, imagesPerBatch},
		{firstBatch, 0, 0, imagesPerBatch},
		{imagesPerBatch, 10, 0, imagesPerBatch},
		{firstBatch, 360, 0, 13},
		{firstBatch, 0, 360, 13},
		{firstBatch, 200, 160, 13},
		{13, 360, 0, 13},
		{1, findingsPerBatch * 3, 0, 1},
	} {
		evidence := make([]Evidence, tt.images)
		for i := range evidence {
			evidence[i].Exposures = []Exposure{{Vulnerabilities: make([]Vulnerability, tt.findings)}, {Suppressed: make([]SuppressedVulnerability, tt.suppressed)}}
		}
		if got := nextBatch(evidence); got != tt.want {
			t.Errorf("%d images of %d findings, %d suppressed: the next batch has %d, want %d", tt.images, tt.findings, tt.suppressed, got, tt.want)
		}
	}
}
