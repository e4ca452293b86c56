// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"regexp"
	"strconv"
	"strings"

	"dossier.dev/dossier"
)

// What builders put before an instruction.
const (
	shellRun   = "/bin/sh -c "
	shellNop   = "/bin/sh -c #(nop)"
	windowsRun = "cmd /S /C "
	windowsNop = "cmd /S /C #(nop)"
	buildkit   = " # buildkit"
)

// Argument is a build argument that an instruction was run with.
type Argument struct {
	Name  string
	Value string
}

// String returns "NAME=VALUE", without the value when the name says that it is
// a secret.
func (a Argument) String() string {
	for _, word := range []string{"TOKEN", "SECRET", "PASSW", "CREDENTIAL", "PRIVATE", "API_KEY", "APIKEY", "ACCESS_KEY"} {
		if strings.Contains(strings.ToUpper(a.Name), word) {
			return a.Name + "=(hidden)"
		}
	}
	return a.Name + "=" + a.Value
}

// Steps returns the history of an image, base first: each instruction with the
// layer that it made. Instructions are cleaned of what builders add to them.
//
// The n-th entry that is not marked as empty made the n-th layer (OCI image
// spec, "Image Configuration", history). A layer beyond the history becomes a
// step without instruction; an entry beyond the layers stays without layer.
func Steps(c Config, m Manifest) []dossier.LayerStep {
	platform := c.Platform.String()
	var steps []dossier.LayerStep
	n := 0
	fill := func(s *dossier.LayerStep) {
		if n < len(c.DiffIDs) {
			s.DiffID = c.DiffIDs[n]
		}
		if n < len(m.Layers) {
			s.Layer, s.Size = m.Layers[n].Digest, m.Layers[n].Size
		}
		n++
	}
	for _, h := range c.History {
		instruction, _ := CleanInstruction(h.CreatedBy)
		s := dossier.LayerStep{Platform: platform, Instruction: instruction, Comment: printable(h.Comment)}
		if age, ok := ParseCreated(h.Created); ok && !age.Reproducible {
			s.Created = age.At
		}
		if !h.EmptyLayer {
			fill(&s)
		}
		steps = append(steps, s)
	}
	for n < max(len(c.DiffIDs), len(m.Layers)) {
		s := dossier.LayerStep{Platform: platform}
		fill(&s)
		steps = append(steps, s)
	}
	return steps
}

// Arguments returns the build arguments with which the instructions of an
// image were run, the first seen first. An argument whose value changed
// appears once for each value.
func Arguments(c Config) []Argument {
	var out []Argument
	seen := map[Argument]bool{}
	for _, h := range c.History {
		_, args := CleanInstruction(h.CreatedBy)
		for _, a := range args {
			if !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
		}
	}
	return out
}

// CleanInstruction returns a created_by text as the Dockerfile instruction
// that it came from, and the build arguments it was run with. Text of another
// form is returned as it is, fit to be shown.
func CleanInstruction(s string) (instruction string, args []Argument) {
	s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), strings.TrimSpace(buildkit)))
	for _, nop := range []string{shellNop, windowsNop} {
		if rest, ok := strings.CutPrefix(s, nop); ok {
			return printable(rest), nil
		}
	}
	run, isRun := strings.CutPrefix(s, "RUN ")
	if rest, found, ok := cutArguments(run); ok {
		run, args, isRun = rest, found, true
	}
	for _, shell := range []string{shellRun, windowsRun} {
		if rest, ok := strings.CutPrefix(run, shell); ok {
			run, isRun = rest, true
			break
		}
	}
	if isRun {
		return printable("RUN " + strings.TrimSpace(run)), args
	}
	return printable(s), nil
}

var argumentName = regexp.MustCompile(`(?:^| )([A-Za-z_][A-Za-z0-9_.-]*)=`)

// cutArguments splits "|2 A=1 B=two words /bin/sh -c make" into the command
// and its build arguments: a count, that many NAME=VALUE, and the shell that
// ends the last one. Values are not quoted, so a value that looks like another
// argument cannot be told from one.
func cutArguments(s string) (rest string, args []Argument, ok bool) {
	list, ok := strings.CutPrefix(s, "|")
	if !ok {
		return s, nil, false
	}
	digits, list, ok := strings.Cut(list, " ")
	count, err := strconv.Atoi(digits)
	if !ok || err != nil || count < 0 || count > MaxEntries {
		return s, nil, false
	}
	end := -1
	for _, shell := range []string{shellRun, windowsRun} {
		if i := strings.Index(list, shell); i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	if end < 0 {
		return s, nil, false
	}
	given := strings.TrimSuffix(list[:end], " ")
	names := argumentName.FindAllStringSubmatchIndex(given, count)
	for i, at := range names {
		stop := len(given)
		if i+1 < len(names) {
			stop = names[i+1][0]
		}
		args = append(args, Argument{Name: printable(given[at[2]:at[3]]), Value: printable(given[at[1]:stop])})
	}
	return list[end:], args, true
}
