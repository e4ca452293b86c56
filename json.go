// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

import (
	"bytes"
	"encoding/json"
	"io"
)

// dossierJSON is Dossier without its methods.
type dossierJSON Dossier

// MarshalJSON writes the digest first, and null when there is none.
func (d Dossier) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := d.WriteJSON(&b)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// WriteJSON writes what MarshalJSON returns, and a line break. An encoder that
// calls MarshalJSON checks all of it once more and copies it: this does not.
func (d Dossier) WriteJSON(w io.Writer) error {
	out := struct {
		Digest *Digest `json:"digest"`
		*dossierJSON
	}{dossierJSON: (*dossierJSON)(&d)}
	if d.Digest != "" {
		out.Digest = &d.Digest
	}
	// json.Marshal would escape <, > and &, and no encoder above could undo it.
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
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
