// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package pgtest gives tests PostgreSQL databases of their own.
//
// The first call in a test binary starts a server in a temporary directory,
// reached by a Unix socket there; it ends, and is removed, with the process,
// however that ends. A server that is installed must be Debian's package
// postgresql, or have its programs on the PATH; without one, tests are skipped,
// or fail when DOSSIER_REQUIRE_POSTGRES is set.
//
// The server does not survive a power failure (fsync is off): it does not suit
// tests of durability or figures.
package pgtest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// RequireEnv names the environment variable that makes a missing PostgreSQL a
// failure instead of a skip.
const RequireEnv = "DOSSIER_REQUIRE_POSTGRES"

// Start returns the URL of a new, empty database, which is dropped when the
// test ends. Its text is compared as people do (ICU, en-US), so that statements
// that forget to say otherwise are found out.
func Start(t testing.TB) string {
	t.Helper()
	return startOn(t, nil)
}

// StartWith returns the URL of a new database like the one that prepare has filled:
// that is made once in a process, and copied. All calls must have the same prepare,
// which leaves no connection open.
func StartWith(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	return startOn(t, prepare)
}

func startOn(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	s, err := shared()
	switch {
	case errors.Is(err, errMissing) && os.Getenv(RequireEnv) == "":
		t.Skipf("SKIPPED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	args := []string{name}
	if prepare != nil {
		s.prepared.Do(func() {
			if s.failed = s.tool("createdb", template); s.failed == nil {
				s.failed = prepare(s.url(template))
			}
		})
		if s.failed != nil {
			t.Fatal(s.failed)
		}
		args = append(args, "--template="+template)
	}
	if err := s.tool("createdb", args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.tool("dropdb", "--force", name); err != nil {
			t.Error(err)
		}
	})
	return s.url(name)
}

// url is that of a database.
func (s *server) url(name string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + name, RawQuery: url.Values{"host": {s.dir}, "user": {superuser}}.Encode()}
	return u.String()
}

const (
	superuser = "postgres"
	template  = "prepared"       // what StartWith copies
	startTime = 60 * time.Second // for a server to start on a busy machine
)

var errMissing = errors.New("PostgreSQL is not installed: on Debian, run apt-get install postgresql")

// shared starts the server of this process once.
var shared = sync.OnceValues(start)

// Own is a server that no other test uses, so that it can be stopped.
type Own struct{ server *server }

// StartOwn starts a server that ends with the test.
func StartOwn(t testing.TB) *Own {
	t.Helper()
	s, err := start()
	switch {
	case errors.Is(err, errMissing) && os.Getenv(RequireEnv) == "":
		t.Skipf("SKIPPED: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return &Own{s}
}

// URL is that of its only database.
func (o *Own) URL() string { return o.server.url(superuser) }

// Stop stops the server at once, as a crash would.
func (o *Own) Stop(t testing.TB) { o.tell(t, "stop", false) }

// Start starts it again, and waits until it answers.
func (o *Own) Start(t testing.TB) { o.tell(t, "start", true) }

func (o *Own) tell(t testing.TB, word string, up bool) {
	t.Helper()
	if _, err := fmt.Fprintln(o.server.stdin, word); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startTime); (o.server.tool("pg_isready", "--quiet") == nil) != up; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server does not %s", word)
		}
	}
}

// server is a running PostgreSQL.
type server struct {
	bin       string // where its programs are
	dir       string // where its socket is
	stdin     io.WriteCloser
	ended     func() error
	databases atomic.Int64
	prepared  sync.Once
	failed    error // why what StartWith copies was not made
}

// watch runs a server until standard input ends, which it does with the process
// that started it, and then stops the server and removes its directory. A line on
// standard input stops it as if it had crashed, or starts it again.
const watch = `dir=$1; shift
"$@" >>"$dir/log" 2>&1 & server=$!
while read -r word; do
    case $word in
    stop) kill -QUIT $server; wait $server ;;
    start) "$@" >>"$dir/log" 2>&1 & server=$! ;;
    esac
done
kill -INT $server && wait $server
rm -rf "$dir"`

func start() (*server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	credential, err := identity()
	if err != nil {
		return nil, err
	}
	dir, err := directory(credential)
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, dir: dir}
	if err := s.run(credential); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// run makes the files of a server and starts it.
func (s *server) run(credential *syscall.Credential) error {
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata="+data, "--username="+superuser, "--auth=trust",
		"--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
	initdb.Dir, initdb.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: credential}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-c", watch, "sh", s.dir, filepath.Join(s.bin, "postgres"), "-D", data}
	for _, setting := range []string{
		"listen_addresses=", "unix_socket_directories=" + s.dir, "fsync=off", "full_page_writes=off",
		"max_connections=200", "shared_buffers=32MB", "autovacuum=off", "deadlock_timeout=20ms",
	} {
		args = append(args, "-c", setting)
	}
	sh := exec.Command("/bin/sh", args...)
	sh.Dir, sh.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	stdin, err := sh.StdinPipe()
	if err != nil {
		return err
	}
	if err := sh.Start(); err != nil {
		return err
	}
	s.stdin, s.ended = stdin, sh.Wait // the first kept open until the process ends
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		err := s.tool("pg_isready", "--quiet")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return errors.Join(fmt.Errorf("the server does not start: %w\n%s", err, log), stdin.Close(), sh.Wait())
		}
	}
}

// end stops the server, and waits until it is gone.
func (s *server) end() error { return errors.Join(s.stdin.Close(), s.ended()) }

// tool runs a client program on the server.
func (s *server) tool(name string, args ...string) error {
	args = append([]string{"--host=" + s.dir, "--username=" + superuser}, args...)
	if out, err := exec.Command(filepath.Join(s.bin, name), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// programs returns the directory of PostgreSQL's programs: those of the newest
// Debian package, or else those on the PATH.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // not a number: the oldest
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errMissing
	}
	return filepath.Dir(path), nil
}

// identity returns who the server runs as, which must not be root: the user
// postgres then, nil otherwise.
func identity() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errMissing, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// directory makes a directory whose path is short enough for a Unix socket.
func directory(owner *syscall.Credential) (string, error) {
	const longest = 80 // of some 100, for the name of the socket
	parent := os.TempDir()
	if len(parent) > longest-len("/dossier-pg0123456789") {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "dossier-pg")
	if err != nil {
		return "", err
	}
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}
