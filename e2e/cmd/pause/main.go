// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command pause is the one program in the sample images of the end-to-end tests, sandbox image included. It prints its
// arguments, reaps orphans and waits to be told to end; with -exit it ends at once with that status.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	exit := flag.Int("exit", -1, "end at once with this status")
	flag.Parse()
	fmt.Println("up", flag.Args())
	if *exit >= 0 {
		os.Exit(*exit)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err != nil || pid <= 0 {
				break
			}
		}
	}
}
