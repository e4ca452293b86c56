// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package layer reads the layers of images: it undoes their compression, checks
// their digests on the way, and hands out the entries of their archive one by
// one.
//
// It promises that what Walk says was checked was checked: a nil error means
// that the bytes had the digest of the Source, and their decompressed form its
// DiffID. It reads a layer from beginning to end once, holds no more of it than
// a few buffers, and stops at named limits.
//
// Gzip, which nearly all layers are, it decompresses itself, at twice the speed of
// the libraries at hand: that is most of what reading a layer costs. Its tests hold
// it against the standard library.
//
// It does not know what is in a layer: origin and contents do. It does not
// unpack anything onto a disk, and it does not lay layers over one another.
package layer
