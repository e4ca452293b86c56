// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"encoding/json"
	"fmt"

	"dossier.dev/dossier"
)

// Config is an image configuration (OCI image spec, "Image Configuration", and
// what Docker adds to it), as far as it says something about the origin.
type Config struct {
	Created       string
	Author        string
	Platform      Platform
	DockerVersion string // of the daemon that built it; no OCI field
	Env           []string
	Entrypoint    []string
	Cmd           []string
	WorkingDir    string
	Labels        map[string]string
	DiffIDs       []dossier.Digest // base first; "" where one is malformed
	History       []HistoryEntry   // oldest first
	Problem       string           // what could not be read although the rest could; may be empty
}

// HistoryEntry is one instruction as the configuration keeps it.
type HistoryEntry struct {
	Created    string `json:"created"`
	CreatedBy  string `json:"created_by"`
	Author     string `json:"author"`
	Comment    string `json:"comment"`
	EmptyLayer bool   `json:"empty_layer"`
}

// configJSON is the form of Config in bytes.
type configJSON struct {
	Platform
	Created       string `json:"created"`
	Author        string `json:"author"`
	DockerVersion string `json:"docker_version"`
	Config        struct {
		Env        []string
		Entrypoint json.RawMessage
		Cmd        json.RawMessage
		WorkingDir string
		Labels     map[string]string
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []HistoryEntry `json:"history"`
}

// words reads a command: a list, or in very old images a single string.
func words(b json.RawMessage) (list []string, ok bool) {
	if len(b) == 0 || json.Unmarshal(b, &list) == nil {
		return list, true
	}
	var one string
	if json.Unmarshal(b, &one) != nil {
		return nil, false
	}
	if one == "" {
		return nil, true
	}
	return []string{one}, true
}

// ParseConfig parses an image configuration. A field of the wrong type is left
// out and named in Problem. It fails with KindInvalid when b is not a JSON
// object, and with KindLimit when it exceeds MaxConfig or MaxEntries.
func ParseConfig(b []byte) (Config, error) {
	const op = "parsing configuration"
	var in configJSON
	var problem string
	if err := decode(op, b, MaxConfig, &in); err != nil {
		p, ok := typeProblem(err)
		if !ok {
			return Config{}, err
		}
		problem = p
	}
	entrypoint, ok1 := words(in.Config.Entrypoint)
	cmd, ok2 := words(in.Config.Cmd)
	if problem == "" && !(ok1 && ok2) {
		problem = "the command is not a list of strings"
	}
	n := max(len(in.Config.Env), len(entrypoint), len(cmd), len(in.Config.Labels),
		len(in.RootFS.DiffIDs), len(in.History))
	if n > MaxEntries {
		return Config{}, dossier.Errorf(dossier.KindLimit, op, "", fmt.Sprintf("a list has %d entries, the limit is %d", n, MaxEntries))
	}
	c := Config{
		Created: in.Created, Author: in.Author, Platform: in.Platform, DockerVersion: in.DockerVersion,
		Env: in.Config.Env, Entrypoint: entrypoint, Cmd: cmd,
		WorkingDir: in.Config.WorkingDir, Labels: in.Config.Labels,
		History: in.History, Problem: problem,
	}
	for _, s := range in.RootFS.DiffIDs {
		d, err := dossier.ParseDigest(s)
		if err != nil && c.Problem == "" {
			c.Problem = "a diffID is malformed"
		}
		c.DiffIDs = append(c.DiffIDs, d)
	}
	return c, nil
}
