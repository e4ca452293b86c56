// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Command authority is an authority for timestamps (RFC 3161) with a key of its own that
// ends with it: timestamp-authority without its server of metrics, which listens on all
// addresses.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

func main() {
	port := flag.Int("port", 0, "the port on 127.0.0.1")
	flag.Parse()
	viper.Set("timestamp-signer", "memory")
	viper.Set("timestamp-signer-hash", "sha256")
	viper.Set("default-policy-oid", "1.3.6.1.4.1.57264.2")
	viper.Set("accepted-policy-oids", []string{"1.3.6.1.4.1.57264.2"})
	s := server.NewRestAPIServer("127.0.0.1", *port, []string{"http"}, false, 30*time.Second, 30*time.Second)
	if err := s.Serve(); err != nil {
		log.Fatal(err)
	}
}
