// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Machine describes this machine in a line.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var info syscall.Sysinfo_t
	memory := ""
	if syscall.Sysinfo(&info) == nil {
		memory = fmt.Sprintf(", %d GiB", (uint64(info.Totalram)*uint64(info.Unit)+1<<29)>>30)
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // empty when it cannot be read
	return fmt.Sprintf("%d x %s%s, %s %s/%s, %s", runtime.NumCPU(), model, memory,
		strings.TrimSpace("Linux "+string(kernel)), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// LoadAverage returns how many processes wanted to run in the last minute, on average.
func LoadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, _ := strconv.ParseFloat(first, 64) // 0 when it is no number
	return load
}
