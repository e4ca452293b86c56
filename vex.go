// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

// AttachedVEX is the body of a FactAttachedVEX: where a VEX document was found,
// and what it is. What it says is a claim.
type AttachedVEX struct {
	Document   Digest `json:"document"`             // of its bytes; the subject of its FactVEX
	How        string `json:"how"`                  // as for AttachedBill
	Manifest   Digest `json:"manifest"`             // that holds it
	Format     string `json:"format,omitempty"`     // "OpenVEX 0.2.0", "CSAF 2.0", "CycloneDX 1.6"
	Author     string `json:"author,omitempty"`     // who wrote it, as it says
	Statements int    `json:"statements,omitempty"` // about products that can be recognised
	Problem    string `json:"problem,omitempty"`    // why it was not read
}
