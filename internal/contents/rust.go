// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"compress/zlib"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"fmt"
	"io"
)

// Sections in which cargo-auditable keeps the dependencies of a program, the
// second by its first release.
const (
	rustSection       = ".dep-v0"
	rustSectionLegacy = ".rust-deps-v0"
)

// rustPackages returns the crates that are linked into a program, nil when it
// does not say. Their list is JSON compressed by zlib; more than limit bytes of
// it, on either side of the compression, are an error.
func rustPackages(r *content, limit int64) ([]Package, error) {
	packed, err := openRustSection(r, limit)
	if packed == nil || err != nil {
		return nil, err
	}
	plain, err := zlib.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("reading Rust audit data: %w", err)
	}
	defer plain.Close()
	b, err := io.ReadAll(io.LimitReader(plain, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading Rust audit data: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, errTooLarge("Rust audit data", "Manifest", limit)
	}
	var audit struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Kind    string `json:"kind"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &audit); err != nil {
		return nil, fmt.Errorf("reading Rust audit data: %w", err)
	}
	var out []Package
	for _, p := range audit.Packages {
		if name := printable(p.Name); name != "" && p.Kind != "build" {
			out = append(out, Package{Type: "cargo", Name: name, Version: printable(p.Version)})
		}
	}
	return out, nil
}

// openRustSection returns the section of an executable that holds the list, nil
// when it has none or is no executable.
func openRustSection(r *content, limit int64) (io.Reader, error) {
	head := make([]byte, 4)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, nil
	}
	var section io.ReadSeeker
	var size uint64
	switch {
	case string(head) == "\x7fELF":
		f, err := elf.NewFile(r)
		if err != nil {
			return nil, nil // a program that nothing can be said of
		}
		for _, name := range []string{rustSection, rustSectionLegacy} {
			if s := f.Section(name); s != nil {
				section, size = s.Open(), s.Size
				break
			}
		}
	case string(head[:2]) == "MZ":
		f, err := pe.NewFile(r)
		if err != nil {
			return nil, nil
		}
		if s := f.Section(rustSection); s != nil {
			section, size = s.Open(), uint64(s.Size)
		}
	default:
		f, err := macho.NewFile(r)
		if err != nil {
			return nil, nil
		}
		if s := f.Section(rustSection); s != nil {
			section, size = s.Open(), s.Size
		}
	}
	if section != nil && size > uint64(limit) {
		return nil, errTooLarge("Rust audit data", "Manifest", limit)
	}
	if section == nil {
		return nil, nil
	}
	return section, nil
}
