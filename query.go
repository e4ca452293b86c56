// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

// ImagesQuery selects images by where they run. Empty fields select everything.
type ImagesQuery struct {
	Clusters   []string // IDs
	Namespaces []string
	Selector   string // on the labels of pods, as kubectl's -l
	At         Times
}

// Change is a step of a watch: an image as it is now.
type Change struct {
	Type  ChangeType `json:"type"`
	Image *Dossier   `json:"image,omitempty"` // nil for ChangeSynced
}

// ChangeLine is a line of a watch as it travels: a change, or the error that
// ends the watch, with the type ChangeError.
type ChangeLine struct {
	Change
	Error *Problem `json:"error,omitempty"`
}

// ChangeType says what happened to an image.
type ChangeType string

// The types of change.
const (
	ChangeAdded   ChangeType = "ADDED"   // it is in the list now
	ChangeUpdated ChangeType = "UPDATED" // its dossier differs
	ChangeRemoved ChangeType = "REMOVED" // it is in the list no more; Image is its last state, without Running
	ChangeSynced  ChangeType = "SYNCED"  // all that was there at the beginning has been sent
	ChangeError   ChangeType = "ERROR"   // the watch has failed; only in a ChangeLine
)
