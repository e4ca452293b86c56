// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package relay forwards TCP connections byte by byte, and can cut them all, as a broken network would. It knows nothing of
// what it carries.
package relay

import (
	"io"
	"net"
	"sync"
	"time"
)

// Relay accepts on one listener and forwards to one address.
type Relay struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

// Serve forwards what the listener accepts to target, until Close. The relay owns the listener.
func Serve(listener net.Listener, target string) *Relay {
	r := &Relay{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	r.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.forward(conn) })
		}
	})
	return r
}

// Addr returns the address that the relay listens on.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Shut cuts every connection, and refuses new ones by closing them, until Open.
func (r *Relay) Shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = true
	for conn := range r.conns {
		conn.Close()
	}
}

// Open lets new connections through.
func (r *Relay) Open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = false
}

// Close ends the relay and returns when nothing of it runs any more.
func (r *Relay) Close() {
	r.listener.Close()
	r.Shut()
	r.work.Wait()
}

// add keeps conn to be cut later; it returns false, and closes conn, when the relay is shut.
func (r *Relay) add(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *Relay) remove(conn net.Conn) {
	conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
}

func (r *Relay) forward(in net.Conn) {
	if !r.add(in) {
		return
	}
	defer r.remove(in)
	out, err := net.DialTimeout("tcp", r.target, 5*time.Second)
	if err != nil {
		return
	}
	if !r.add(out) {
		return
	}
	defer r.remove(out)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		in.Close()
	})
	_, _ = io.Copy(out, in)
	out.Close()
	back.Wait()
}
