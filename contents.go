// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package dossier

// Contents is the body of a FactContents: what the layers of an image hold when
// they are laid over one another. The packages themselves are not in it, only
// which sets of them (PackageSet.Digest): images with the same base share those.
type Contents struct {
	Version      string          `json:"version"`                // of what read and laid the layers
	Distribution *Distribution   `json:"distribution,omitempty"` // nil: nothing says which
	Layers       []LayerContents `json:"layers"`                 // base first
	Main         []MainPackage   `json:"main,omitempty"`         // what the image is there for, by its command
	Missed       []Missed        `json:"missed,omitempty"`       // the first of what was not read
	MissedCount  int             `json:"missedCount,omitempty"`  // how much was not read, in all
}

// LayerContents is the packages of an image that one of its layers brought.
type LayerContents struct {
	Layer    Digest         `json:"layer"`
	Fact     Digest         `json:"fact,omitempty"`     // ID of the FactLayer that tells; empty: it was not read
	Set      Digest         `json:"set,omitempty"`      // of the packages; empty: there are none
	Packages map[string]int `json:"packages,omitempty"` // how many, by the type of their purls
}

// Distribution is the operating system that an image is made from.
type Distribution struct {
	Path      string   `json:"path"`                // of the file that says so, without a slash in front
	ID        string   `json:"id"`                  // "debian", lower case (os-release, ID)
	Like      []string `json:"like,omitempty"`      // ID_LIKE
	VersionID string   `json:"versionID,omitempty"` // "12"
	Codename  string   `json:"codename,omitempty"`  // "bookworm"
	Name      string   `json:"name,omitempty"`      // PRETTY_NAME
	Variant   string   `json:"variant,omitempty"`   // VARIANT_ID
	Ecosystem string   `json:"ecosystem,omitempty"` // as OSV names it: "Debian:12"; empty: OSV has none
}

// MainPackage is a package for which an image is there.
type MainPackage struct {
	PURL    string `json:"purl"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Path    string `json:"path"` // of the file that tells of it
	Why     string `json:"why"`  // in a few words: "the program that it starts"
}

// Reason says why something was not read.
type Reason string

// The reasons. The limits in capitals are those of package contents.
const (
	MissedLayer    Reason = "layer"    // the layer, or the rest of it: it is no archive, or Unpacked or Entries is exceeded
	MissedFileSize Reason = "size"     // Database, Program, Archive, Manifest
	MissedCount    Reason = "count"    // Files, Packages, Links, Removed, Text
	MissedName     Reason = "name"     // Name
	MissedNesting  Reason = "nesting"  // Nesting
	MissedInner    Reason = "inner"    // Inner, Directory, or Manifest inside an archive
	MissedTime     Reason = "time"     // FileTime
	MissedBroken   Reason = "broken"   // it does not hold what its name says
	MissedLink     Reason = "link"     // a hard link leads out of the layer
	MissedIdentity Reason = "identity" // it is a package, and does not say which
	MissedWindows  Reason = "windows"  // it is a layer of Windows, of which only the files of applications are read
)

// Missed is something of a layer that was not read.
type Missed struct {
	Layer  Digest `json:"layer,omitempty"`
	Path   string `json:"path,omitempty"` // empty: the layer as a whole
	Reason Reason `json:"reason"`
	Detail string `json:"detail"` // a few words for people
}
