// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package contents finds out which packages are in an image, from the bytes of
// its layers.
//
// ReadLayer reads one layer once, as a stream, and returns plain data: the
// packages that its files tell of, and what its names do to the layers beneath
// it. Fold lays such results over one another and gives the packages of an
// image. So a layer is read once however many images share it. Read does both.
//
// The package promises that
//   - every result stands on bytes whose digests were checked;
//   - a package names the file and the layer it was found in;
//   - whatever was not read, because of a limit or a fault, is in the result
//     (Missed): a list without Missed is complete as far as the extractors go;
//   - memory is bounded by Limits, not by the size of the layer, and input made
//     to do harm costs no more than that;
//   - equal bytes give equal results, to the byte when written as JSON.
//
// What a distribution's package database means depends on the distribution,
// which another layer may tell. So a LayerResult holds names and versions as
// they are written, and purls and ecosystems come with Fold.
//
// The package does not unpack layers onto a disk, run anything, use the network
// or match advisories. What makes a package out of a file is osv-scalibr's
// extractors; databases of rpm are read by the package rpmdb beneath this one.
package contents
