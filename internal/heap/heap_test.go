// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: first, 1 << 20: 775, minimum: 700, 8 << 20: 300, 16 << 20: 100, 24 << 20: Lean, Small: Lean, 1 << 40: Lean} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes: %d percent, want %d", live, got, want)
		}
		if goal := max(minimum*uint64(want)/100, live+live*uint64(want)/100); goal > Small && want > Lean {
			t.Errorf("%d bytes may become %d", live, goal)
		}
	}
}

// loadEnv makes this program use some memory and end: in MB, with or without Fix.
const loadEnv = "DOSSIER_TEST_HEAP"

func TestMain(m *testing.M) {
	if load := os.Getenv(loadEnv); load != "" {
		Obey(os.Getenv("GOGC"))
		if load == "fixed" {
			Fix(Lean)
		}
		for range 24 { // MB, of which nothing is needed
			kept = make([]byte, 1<<20)
		}
		return
	}
	os.Exit(m.Run())
}

var kept []byte

// TestFirstCollection runs a program that makes 24 MB: garbage is collected if it was told to
// be lean, or by GOGC.
func TestFirstCollection(t *testing.T) {
	for _, tt := range []struct {
		load, gogc string
		want       bool
	}{{"free", "", false}, {"fixed", "", true}, {"free", "50", true}, {"free", "100", true}, {"fixed", "off", false}} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), loadEnv+"="+tt.load, "GODEBUG=gctrace=1", "GOGC="+tt.gogc)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.Contains(string(out), "gc 1 @"); got != tt.want {
			t.Errorf("%s with GOGC=%q: collected %v, want %v: %s", tt.load, tt.gogc, got, tt.want, out)
		}
	}
}
