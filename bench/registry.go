// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier/bench/fleet"
	"dossier.dev/dossier/bench/measure"
)

// registryDelay is how long the registry takes for each answer.
const registryDelay = 20 * time.Millisecond

// serveRegistry serves images on the listener that it inherits, until ctx ends.
func serveRegistry(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet(partRegistry, flag.ContinueOnError)
	n := flags.Int("images", 0, "how many")
	delay := flags.Duration("delay", 0, "before each answer")
	if err := flags.Parse(args); err != nil {
		return err
	}
	images, err := fleet.NewImages(*n)
	if err != nil {
		return err
	}
	return serveInherited(ctx, &fleet.Registry{Images: images, Delay: *delay})
}

// registry is one that runs in a process of its own.
type registry struct {
	host    string
	process *measure.Process
}

// startRegistry starts a registry. Who asks before it is ready waits.
func startRegistry(ctx context.Context, images int, delay time.Duration) (*registry, error) {
	p, address, err := startPart(ctx, nil, partRegistry, "-images", strconv.Itoa(images), "-delay", delay.String())
	if err != nil {
		return nil, err
	}
	return &registry{host: address, process: p}, nil
}

func (r *registry) close() {
	if r.process.Stop() == nil {
		_, _ = r.process.Wait() // it ends by a signal
	}
}

// counts returns what it was asked for so far.
func (r *registry) counts(ctx context.Context) (fleet.Counts, error) {
	var c fleet.Counts
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.host+fleet.CountsPath, nil)
	if err != nil {
		return c, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, fmt.Errorf("counting requests: %w", err)
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}
