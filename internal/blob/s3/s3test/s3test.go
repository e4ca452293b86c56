// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package s3test runs a real object store for tests: versitygw on a directory.
//
// It promises that each server is empty at first, listens on loopback only, and
// ends with the test, or with the test process. The program is built on first
// use, which takes some minutes (package testprogram). Where it cannot be built
// the test is skipped, or fails when DOSSIER_REQUIRE_S3 is set.
package s3test

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"dossier.dev/dossier/internal/blob/s3"
	"dossier.dev/dossier/internal/testprogram"
)

const (
	module  = "e2e/s3" // from the root of the repository
	program = "github.com/versity/versitygw/cmd/versitygw"
	region  = "us-east-1"
	key     = "test-access-key"
	secret  = "test-secret-key"

	startTime = 30 * time.Second
)

// Server is an object store.
type Server struct {
	Address string // host:port, plain HTTP
	program string
	dir     string
	log     *bytes.Buffer
	process *os.Process   // nil: it is stopped
	ended   chan struct{} // closed when the process has ended
}

// Start starts an object store that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := testprogram.Build(t.Context(), module, program)
	if err != nil {
		if os.Getenv("DOSSIER_REQUIRE_S3") != "" {
			t.Fatal(err)
		}
		t.Skipf("no object store to test with: %v", err)
	}
	s := &Server{Address: freeAddress(t), program: path, dir: t.TempDir(), log: &bytes.Buffer{}}
	for _, name := range []string{"objects", "attributes"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stop)
	s.Restart(t)
	return s
}

// Stop ends the object store at once. What it has stays.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Kill() // an error means that it has ended
	<-s.ended
	s.process = nil
}

// Restart starts an object store that is stopped, at the same address and with
// what it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	cmd := exec.Command(s.program, "--port", s.Address, "--region", region, "--quiet",
		"posix", "--sidecar", filepath.Join(s.dir, "attributes"), filepath.Join(s.dir, "objects"))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+key, "ROOT_SECRET_KEY="+secret)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	dieWithParent(cmd)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // a child dies with the thread that started it
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = cmd.Process, ended
	s.await(t)
}

// await waits until the server answers.
func (s *Server) await(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + s.Address + "/")
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-s.ended:
			t.Fatalf("versitygw ended: %s", s.log)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("versitygw does not answer: %v", err)
		}
	}
}

// Bucket makes a bucket and returns where it lies.
func (s *Server) Bucket(t testing.TB, name string) s3.Config {
	t.Helper()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: region}); err != nil {
		t.Fatal(err)
	}
	return s3.Config{
		Endpoint: "http://" + s.Address, Bucket: name, Region: region,
		Credentials: s3.Credentials{AccessKey: key, SecretKey: secret},
	}
}

// Client returns another way to the object store.
func (s *Server) Client() (*minio.Core, error) {
	return minio.NewCore(s.Address, &minio.Options{Creds: credentials.NewStaticV4(key, secret, ""), Region: region})
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
