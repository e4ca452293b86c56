// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// freePorts picks TCP ports of 127.0.0.1 that nothing listens on. They lie below the range that Linux hands out, so that
// nobody who asks for any port gets one of them before it is used.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer l.Close() // only at the end, so that no port is picked twice
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports on 127.0.0.1", n)
}
