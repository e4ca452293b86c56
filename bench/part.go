// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"dossier.dev/dossier/bench/measure"
)

// Names of the parts that this program plays in processes of its own, so that
// they cost others nothing.
const (
	partRegistry = "part-registry"
	partPlain    = "part-plain"
	partFacts    = "part-facts"
	partFiles    = "part-files"
	partAudit    = "part-audit"
	partProvable = "part-provable"
)

// partOf returns the part that the arguments name, or nil.
func partOf(args []string) (part func(context.Context, []string, io.Writer) error, rest []string) {
	if len(args) == 0 {
		return nil, nil
	}
	switch args[0] {
	case partRegistry:
		return serveRegistry, args[1:]
	case partPlain:
		return servePlain, args[1:]
	case partFiles:
		return serveFiles, args[1:]
	case partAudit:
		return serveAudited, args[1:]
	case partProvable:
		return recordProvable, args[1:]
	case partFacts:
		return recordFacts, args[1:]
	}
	return nil, nil
}

// startPart starts a part that serves HTTP, and returns the address that it
// inherits: who asks before it is ready waits.
func startPart(ctx context.Context, files []*os.File, args ...string) (p *measure.Process, address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, "", err
	}
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	p, err = measure.Start(ctx, measure.Command{Path: self, Args: args, Files: append([]*os.File{file}, files...)})
	return p, listener.Addr().String(), err
}

// serveInherited serves on the listener that this process was started with.
func serveInherited(ctx context.Context, h http.Handler) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}
