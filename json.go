// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"bytes"
	"encoding/json"
)

// dossierJSON is Dossier without its methods.
type dossierJSON Dossier

// MarshalJSON writes the digest first, and null when there is none.
func (d Dossier) MarshalJSON() ([]byte, error) {
	out := struct {
		Digest *Digest `json:"digest"`
		dossierJSON
	}{dossierJSON: dossierJSON(d)}
	if d.Digest != "" {
		out.Digest = &d.Digest
	}
	// json.Marshal would escape <, > and &, and no encoder above could undo it.
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(out)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (d *Dossier) UnmarshalJSON(b []byte) error {
	in := struct {
		Digest *Digest `json:"digest"`
		*dossierJSON
	}{dossierJSON: (*dossierJSON)(d)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Digest != nil {
		d.Digest = *in.Digest
	}
	return nil
}
