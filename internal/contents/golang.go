// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// goProgram reads what a program was linked from that the Go toolchain built: nil
// when it is none, or is built in a way that does not tell. It reads the names
// of functions in the table that the runtime needs for tracebacks, which cannot
// be stripped. The table names inlined functions too, from Go 1.16 on; of what
// is older nothing is said.
func goProgram(r io.ReaderAt) (p *dossier.Program) {
	defer func() {
		if recover() != nil {
			p = nil // the readers of executables do not promise to be safe
		}
	}()
	info, err := buildinfo.Read(r)
	if err != nil {
		return nil
	}
	table, err := functionTable(r)
	if err != nil {
		return nil
	}
	names, err := functionNames(table)
	if err != nil {
		return nil
	}
	p = &dossier.Program{}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			p.OS = s.Value
		case "GOARCH":
			p.Arch = s.Value
		}
	}
	var symbols []string
	packages := map[string]bool{}
	for name := range strings.SplitSeq(string(names), "\x00") {
		path, symbol := splitSymbol(name)
		if path == "" {
			continue
		}
		if path == "main" && info.Path != "" {
			path = info.Path
		}
		if !packages[path] {
			packages[path] = true
			p.Packages = append(p.Packages, printable(path))
		}
		symbols = append(symbols, path+"."+symbol)
	}
	if !packages["runtime"] {
		return nil // the names were made unreadable
	}
	slices.Sort(p.Packages)
	p.Symbols = dossier.NewSymbols(symbols)
	return p
}

// functionTable finds the table of functions ("pclntab") in a program: by the
// name of its section, or by how it begins where linkers of the platform merge
// sections.
func functionTable(r io.ReaderAt) (io.ReaderAt, error) {
	head := make([]byte, 4)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, err
	}
	switch {
	case string(head) == "\x7fELF":
		f, err := elf.NewFile(r)
		if err != nil {
			return nil, err
		}
		for _, s := range f.Sections {
			if strings.HasSuffix(s.Name, ".gopclntab") && s.Type != elf.SHT_NOBITS {
				return s.ReaderAt, nil
			}
		}
	case string(head[:2]) == "MZ":
		f, err := pe.NewFile(r)
		if err != nil {
			return nil, err
		}
		for _, s := range f.Sections {
			if at := searchTable(s.ReaderAt, int64(s.Size)); at >= 0 {
				return io.NewSectionReader(s.ReaderAt, at, int64(s.Size)-at), nil
			}
		}
	default:
		f, err := macho.NewFile(r)
		if err != nil {
			return nil, err
		}
		for _, s := range f.Sections {
			if s.Name == "__gopclntab" {
				return s.ReaderAt, nil
			}
		}
	}
	return nil, errors.New("it has no table of functions")
}

// searchTable returns where in a section a table of functions begins, or -1.
func searchTable(r io.ReaderAt, size int64) int64 {
	const chunk = 1 << 20
	buf := make([]byte, chunk+16)
	for base := int64(0); base < size; base += chunk {
		n, _ := r.ReadAt(buf[:min(int64(len(buf)), size-base)], base)
		for i := 0; i+8 <= n; i += 8 {
			if order, _ := tableForm(buf[i : i+8]); order != nil {
				return base + int64(i)
			}
		}
	}
	return -1
}

// tableForm reads the first 8 bytes of a table of functions: its byte order, nil
// when it is none, and which word after them says where the names begin.
func tableForm(b []byte) (order binary.ByteOrder, word int) {
	if b[4] != 0 || b[5] != 0 || b[6] != 1 && b[6] != 2 && b[6] != 4 || b[7] != 4 && b[7] != 8 {
		return nil, 0
	}
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch o.Uint32(b) {
		case 0xfffffff1, 0xfffffff0: // Go 1.20, 1.18
			return o, 3
		case 0xfffffffa: // Go 1.16
			return o, 2
		}
	}
	return nil, 0
}

// maxFunctionNames bounds the names of functions of one program, in bytes.
const maxFunctionNames = 64 << 20

// functionNames returns the names in a table of functions, each ended by a zero.
func functionNames(table io.ReaderAt) ([]byte, error) {
	head := make([]byte, 8+8*5)
	if _, err := table.ReadAt(head, 0); err != nil {
		return nil, err
	}
	order, word := tableForm(head[:8])
	if order == nil {
		return nil, errors.New("its table of functions is of an unknown form")
	}
	pointer := int(head[7])
	read := func(i int) uint64 {
		at := head[8+i*pointer:]
		if pointer == 8 {
			return order.Uint64(at)
		}
		return uint64(order.Uint32(at))
	}
	begin, end := read(word), read(word+1)
	if end <= begin || end-begin > maxFunctionNames || end > 1<<40 {
		return nil, errors.New("its table of functions is broken")
	}
	return io.ReadAll(io.NewSectionReader(table, int64(begin), int64(end-begin)))
}

// splitSymbol splits the name of a function as the linker writes it into the
// import path and "Func" or "Type.Method". path is empty for what the compiler
// made up.
func splitSymbol(name string) (path, symbol string) {
	name = withoutTypeArguments(name)
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot <= 0 || strings.ContainsAny(name[:slash+dot], ":(") {
		return "", ""
	}
	path, symbol = name[:slash+dot], name[slash+dot+1:]
	if receiver, method, ok := strings.Cut(symbol, ")."); ok {
		symbol = strings.TrimPrefix(receiver, "(*") + "." + method
	}
	return unescapePath(path), strings.TrimSuffix(symbol, "-fm")
}

// withoutTypeArguments drops what stands in brackets.
func withoutTypeArguments(name string) string {
	if !strings.Contains(name, "[") {
		return name
	}
	var b strings.Builder
	depth := 0
	for _, c := range []byte(name) {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapePath undoes how the linker writes dots in the last element of a path,
// and what is no plain letter: as "%2e".
func unescapePath(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
