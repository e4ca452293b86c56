// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"dossier.dev/dossier"
)

// Keeping writes why a registry keeps a digest.
func Keeping(w io.Writer, k dossier.Keeping, _ Options) error {
	var b strings.Builder
	for _, in := range k.Repositories {
		fmt.Fprintf(&b, "%s %s in %s, %s, since %s\n", Clean(string(in.Kind)), Clean(k.Digest.Short()), Clean(in.Repository), Bytes(in.Size), stamp(in.Since))
		for _, r := range in.Reasons {
			fmt.Fprintf(&b, "  kept   %-8s  %s\n", Clean(string(r.Kind)), Clean(r.Text))
		}
		if in.Goes != nil {
			fmt.Fprintf(&b, "  goes   %s  %s\n", stamp(in.Goes.At), Clean(in.Goes.Rule))
		}
	}
	if k.Bytes != nil {
		writeBytes(&b, *k.Bytes)
	}
	for _, d := range k.Deleted {
		fmt.Fprintf(&b, "deleted from %s at %s by %s: %s\n", Clean(cmp.Or(d.Repository, "the registry")), stamp(d.At), Clean(cmp.Or(d.By, "somebody")), Clean(d.Reason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeBytes(b *strings.Builder, by dossier.Bytes) {
	switch {
	case !by.CondemnedAt.IsZero():
		fmt.Fprintf(b, "bytes: condemned at %s: %s\n", stamp(by.CondemnedAt), Clean(by.Reason))
	case by.Damage != "":
		fmt.Fprintf(b, "bytes: DAMAGED, found at %s: %s\n", stamp(by.DamagedAt), Clean(by.Damage))
	case by.CheckedAt.IsZero():
		fmt.Fprintf(b, "bytes: stored at %s, not checked since\n", stamp(by.StoredAt))
	default:
		fmt.Fprintf(b, "bytes: stored at %s, as they should be at %s\n", stamp(by.StoredAt), stamp(by.CheckedAt))
	}
}

// Collection writes what a collection of garbage took away.
func Collection(w io.Writer, c dossier.Collection, opt Options) error {
	columns := []column{{title: "KIND"}, {title: "REPOSITORY", min: 12, tail: true}, {title: "DIGEST OR TAG", min: 12}, {title: "SIZE"}, {title: "RULE", min: 16}}
	var rows [][]cell
	for _, i := range c.Items {
		size := Bytes(i.Size)
		if i.Kind == dossier.HeldTag || i.Size < 0 {
			size = "-"
		}
		rows = append(rows, []cell{
			{text: string(i.Kind)}, {text: cmp.Or(i.Repository, "-")}, {text: cmp.Or(i.Tag, i.Digest.Short())}, {text: size}, {text: i.Rule},
		})
	}
	if len(rows) == 0 {
		return nil
	}
	return writeTable(w, columns, rows, opt)
}

// Damage writes which blobs are damaged.
func Damage(w io.Writer, list dossier.DamageList, opt Options) error {
	columns := []column{{title: "DIGEST"}, {title: "SIZE"}, {title: "SINCE"}, {title: "IN", min: 12, tail: true}, {title: "DAMAGE", min: 20}}
	var rows [][]cell
	for _, b := range list.Blobs {
		rows = append(rows, []cell{
			{text: b.Digest.Short()}, {text: Bytes(b.Size)}, {text: stamp(b.Since)}, {text: cmp.Or(strings.Join(b.Repositories, " "), "-")}, {b.Damage, styleBad},
		})
	}
	if len(rows) == 0 {
		return nil
	}
	return writeTable(w, columns, rows, opt)
}
