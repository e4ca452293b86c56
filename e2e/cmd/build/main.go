// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command build fills the cache with the programs that the end-to-end tests run. So building them does not count
// against the time limit of the tests. It tests nothing.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"dossier.dev/dossier/e2e/kube"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	_, err := kube.Build(ctx, log)
	cancel()
	stop()
	if err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}
