// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"bytes"
	"compress/zlib"
	"context"
	"debug/buildinfo"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

const rustAudit = `{"packages":[{"name":"serde","version":"1.0.0"},{"name":"cc","version":"1.0.0","kind":"build"}]}`

// rustProgram writes the least ELF file with the section in which cargo-auditable
// keeps text: a header, the section, the names of sections, and their table.
func rustProgram(t testing.TB, text string) string {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names := "\x00" + rustSection + "\x00.shstrtab\x00"
	order := binary.LittleEndian
	const head = 64
	table := head + packed.Len() + len(names)
	b := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	for _, v := range []uint16{2, 62} { // executable, x86-64
		b = order.AppendUint16(b, v)
	}
	b = order.AppendUint32(b, 1)
	for _, v := range []uint64{0, 0, uint64(table)} {
		b = order.AppendUint64(b, v)
	}
	b = order.AppendUint32(b, 0)
	for _, v := range []uint16{head, 0, 0, 64, 3, 2} { // three sections, the last has the names
		b = order.AppendUint16(b, v)
	}
	b = slices.Concat(b, packed.Bytes(), []byte(names))
	section := func(name, kind uint32, offset, size int) {
		b = order.AppendUint32(order.AppendUint32(b, name), kind)
		for _, v := range []int{0, 0, offset, size} {
			b = order.AppendUint64(b, uint64(v))
		}
		b = append(b, make([]byte, 24)...)
	}
	section(0, 0, 0, 0)
	section(1, 1, head, packed.Len())
	section(uint32(len(rustSection)+2), 3, head+packed.Len(), len(names))
	return string(b)
}

func TestRustPrograms(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []string
	}{
		{"nonsense in the section", rustProgram(t, "nonsense"), []string{"app broken"}},
		{"bomb in the section", rustProgram(t, `{"packages":[`+strings.Repeat(" ", 20<<20)), []string{"app size"}},
		{"header only", "\x7fELF", nil},
		{"cut off", rustProgram(t, rustAudit)[:100], nil},
	} {
		r := readLayer(t, Options{}, exe("app", tt.body))
		if diff := cmp.Diff(tt.want, reasons(r.Missed)); diff != "" || len(r.Files) != 0 {
			t.Errorf("%s: got %v, missed (-want +got):\n%s", tt.name, r.Files, diff)
		}
	}
}

// TestGoProgram reads the running test itself, and compares with what the
// standard library says of it.
func TestGoProgram(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	compareGoProgram(t, name)
}

// TestGoProgramsOfThisMachine does so with programs that may lie around.
func TestGoProgramsOfThisMachine(t *testing.T) {
	for _, name := range []string{"gofmt", "containerd", "kubelet"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("SKIPPED: no %s here", name)
			continue
		}
		compareGoProgram(t, path)
	}
}

func compareGoProgram(t *testing.T, name string) {
	t.Helper()
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		t.Logf("SKIPPED: %s: %v", name, err)
		return
	}
	want := []string{"stdlib " + strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")}
	add := func(path, version string) {
		want = append(want, strings.TrimSpace(path+" "+strings.TrimPrefix(strings.TrimSuffix(version, "(devel)"), "v")))
	}
	if info.Main.Path != "" {
		add(info.Main.Path, info.Main.Version)
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := readLayer(t, Options{}, exe("bin/app", string(b)))
	var got []string
	for _, f := range r.Files {
		for _, p := range f.Packages {
			got = append(got, strings.TrimSpace(p.Name+" "+p.Version))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	t.Logf("%s: %d modules", name, len(want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: modules (-want +got):\n%s", name, diff)
	}
}

func TestSingleProgramImage(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	plain := tarOf(t, exe("app", string(b)))
	packed := gzipOf(t, plain)
	l := Layer{Digest: dossier.FromBytes(packed), DiffID: dossier.FromBytes(plain), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed)), nil
	}}
	r, err := Read(t.Context(), []Layer{l}, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Image.Distribution != nil || len(r.Image.Missed) != 0 || len(r.Image.Packages) == 0 || r.Image.Packages[0].Path != "app" {
		t.Errorf("got %d packages of %+v, missed %v", len(r.Image.Packages), r.Image.Distribution, r.Image.Missed)
	}
}
