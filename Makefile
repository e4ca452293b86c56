# SPDX-FileCopyrightText: The Dossier Authors
# SPDX-License-Identifier: Apache-2.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 20s

.PHONY: help test gate kube peers build demo lint fuzz bench

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

test: ## Run every test, lane by lane; install what they need when root.
	@go run ./ci

gate: ## Build, lint, unit, script and store tests, race detector.
	@go run ./ci gate

kube: ## Tests against a real Kubernetes; needs root.
	@go run ./ci kube

peers: ## Images made by other tools must read the same.
	@go run ./ci peers

build: ## Build the static binary ./dossier.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X dossier.dev/dossier/internal/cli.Version=$(VERSION)" -o dossier ./cmd/dossier

demo: ## Show the product on sample images: no cluster, no network.
	@CGO_ENABLED=0 go run ./cmd/dossier demo

lint: ## Vet, staticcheck and the rules of the repository.
	go vet ./...
	go tool staticcheck ./...
	go test ./internal/archtest

fuzz: ## Run each fuzz test for FUZZTIME.
	@go run ./ci -fuzz $(FUZZTIME)

bench: ## Measure; writes bench/RESULTS.md. See bench/README.md.
	cd bench && go run .
