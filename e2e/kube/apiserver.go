// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"dossier.dev/dossier/e2e/internal/relay"
)

// startAPIServer starts the API server with the flags of the cluster and waits until it is ready.
func (c *Cluster) startAPIServer(ctx context.Context) error {
	p, err := c.run("kube-apiserver", c.apiFlags...)
	if err != nil {
		return err
	}
	for {
		ask, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ask).Error()
		cancel()
		if err == nil {
			c.apiserver = p
			return nil
		}
		select {
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("kube-apiserver not ready: %w", err)
		case <-p.Done():
			return fmt.Errorf("%w\n%s", p.Err(), p.Tail(5))
		case <-c.store.Done():
			p.Kill()
			return fmt.Errorf("%w\n%s", c.store.Err(), c.store.Tail(5))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// StopAPIServer ends the API server; etcd and the controllers keep running.
func (c *Cluster) StopAPIServer(t testing.TB) {
	t.Helper()
	if c.apiserver == nil {
		t.Fatal("the API server is stopped already")
	}
	p := c.apiserver
	c.apiserver = nil
	start := time.Now()
	p.Stop(stopGrace)
	t.Logf("API server stopped in %v", time.Since(start).Round(time.Millisecond))
}

// RestartAPIServer stops the API server when it runs, starts it on the same port and waits until it is ready. The new one
// knows nothing of what the old one cached: a watch from before the last change gets 410 Gone.
func (c *Cluster) RestartAPIServer(t testing.TB) {
	t.Helper()
	if c.apiserver != nil {
		c.StopAPIServer(t)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := c.startAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("API server started in %v", time.Since(start).Round(time.Millisecond))
}

// CompactEtcd drops the history of everything stored and returns the revision it ends at. The API server answers watches
// from its own memory as long as it can: to make sure of 410 Gone, restart it afterwards.
func (c *Cluster) CompactEtcd(t testing.TB) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var state struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.etcd(ctx, "/v3/kv/range", map[string]any{"key": []byte{0}}, &state); err != nil {
		t.Fatal(err)
	}
	revision, err := strconv.ParseInt(state.Header.Revision, 10, 64)
	if err != nil {
		t.Fatalf("etcd revision: %v", err)
	}
	request := map[string]any{"revision": state.Header.Revision, "physical": true}
	if err := c.etcd(ctx, "/v3/kv/compaction", request, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	return revision
}

// etcd calls the JSON gateway of etcd.
func (c *Cluster) etcd(ctx context.Context, path string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcdURL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(post)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s", path, got.Status)
	}
	return json.NewDecoder(got.Body).Decode(response)
}

// Gate is a way to the API server that a test can cut, as a broken network would.
type Gate struct {
	Kubeconfig string // path of a kubeconfig of the same user through the gate
	relay      *relay.Relay
}

// Gate opens a way to the API server for the user of a kubeconfig of this cluster. It lasts until the end of the test.
func (c *Cluster) Gate(t testing.TB, kubeconfig string) *Gate {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := relay.Serve(l, c.Server[len("https://"):])
	t.Cleanup(r.Close)
	user := config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo]
	return &Gate{Kubeconfig: c.writeKubeconfig(t, "https://"+r.Addr(), user), relay: r}
}

// Shut cuts every connection and lets no new one through until Open.
func (g *Gate) Shut() { g.relay.Shut() }

// Open lets new connections through.
func (g *Gate) Open() { g.relay.Open() }
