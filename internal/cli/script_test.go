// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dossier.dev/dossier/internal/cli"
	"dossier.dev/dossier/internal/testimage"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dossier": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := cli.Run(ctx, os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
		"sqlite-newer": func() {
			if err := makeNewer(os.Args[1]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
	})
}

// TestScript runs the transcripts in testdata/script: what people type, and
// what they see.
func TestScript(t *testing.T) {
	testscript.Run(t, scriptParams(filepath.Join("..", "..", "testdata", "script")))
}

// scriptParams says how the transcripts in a directory are run, with variables
// beside the usual ones.
func scriptParams(dir string, vars ...string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, vars...)
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("LC_ALL", "C.UTF-8")
			env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, "docker"))
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			registries := map[string]*testimage.Registry{}
			env.Values[registriesKey{}] = registries
			env.Values[receiversKey{}] = map[string]*receiver{}
			env.Values[processesKey{}] = map[string]*process{}
			env.Defer(func() {
				for _, r := range registries {
					if err := r.Close(); err != nil {
						env.T().Log(err)
					}
				}
			})
			return nil
		},
		Condition: scriptCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry":  scriptRegistry,
			"fault":     scriptFault,
			"await":     scriptAwait,
			"mount":     scriptMount,
			"fill":      scriptFill,
			"push":      scriptPush,
			"upload":    scriptUpload,
			"download":  scriptDownload,
			"delete":    scriptDelete,
			"layout":    scriptLayout,
			"archive":   scriptArchive,
			"zip":       scriptZip,
			"documents": scriptDocuments,
			"digest":    scriptDigest,
			"expand":    scriptExpand,
			"requests":  scriptRequests,
			"mask":      scriptMask,
			"serve":     scriptServe,
			"now":       scriptNow,
			"trust":     scriptTrust,
			"replace":   scriptReplace,
			"key":       scriptKey,
			"receiver":  scriptReceiver,
			"received":  scriptReceived,
			"notary":    scriptNotary,
			"answers":   scriptAnswers,
			"refused":   scriptRefused,
			"held":      scriptHeld,
			"process":   scriptProcess,
			"murder":    scriptMurder,
			"logged":    scriptLogged,
			"lapse":     scriptLapse,
			"metric":    scriptMetric,

			"eventually": scriptEventually,
			"simplesign": scriptSimpleSign,
		},
	}
}

// scriptNow: now NAME sets a variable to the present time, with fractions of a
// second.
func scriptNow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: now NAME")
	}
	ts.Setenv(args[0], time.Now().UTC().Format(time.RFC3339Nano))
}

type registriesKey struct{}

func registryOf(ts *testscript.TestScript, name string) *testimage.Registry {
	r, ok := ts.Value(registriesKey{}).(map[string]*testimage.Registry)[name]
	if !ok {
		ts.Fatalf("no registry %s was started", name)
	}
	return r
}

// scriptRegistry: registry NAME starts a registry; $NAME is its host:port.
func scriptRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: registry NAME")
	}
	startRegistry(ts, args[0], testimage.RegistryOptions{})
}

func startRegistry(ts *testscript.TestScript, name string, opt testimage.RegistryOptions) {
	r, err := testimage.StartRegistry(opt)
	ts.Check(err)
	ts.Value(registriesKey{}).(map[string]*testimage.Registry)[name] = r
	ts.Setenv(name, r.Host)
}

// scriptPush: push REGISTRY REPOSITORY:TAG SAMPLE pushes a sample image.
func scriptPush(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: push REGISTRY REPOSITORY:TAG SAMPLE")
	}
	repository, tag, _ := strings.Cut(args[1], ":")
	ts.Check(registryOf(ts, args[0]).Push(context.Background(), repository, tag, sample(ts, args[2])))
}

// scriptUpload: [!] upload VAR REPOSITORY:TAG SAMPLE pushes a sample image to the
// server at $VAR; ! says that it is refused.
func scriptUpload(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: upload VAR REPOSITORY:TAG SAMPLE")
	}
	repository, tag, _ := strings.Cut(args[1], ":")
	err := testimage.Push(context.Background(), nil, ts.Getenv(args[0]), repository, tag, sample(ts, args[2]))
	if (err != nil) != neg {
		ts.Fatalf("pushing %s: %v", args[1], err)
	}
}

// scriptDelete: delete VAR REPOSITORY REFERENCE deletes a manifest or a tag of
// the server at $VAR.
func scriptDelete(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: delete VAR REPOSITORY REFERENCE")
	}
	r, err := http.NewRequest(http.MethodDelete, ts.Getenv(args[0])+"/v2/"+args[1]+"/manifests/"+args[2], nil)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if resp.StatusCode != http.StatusAccepted {
		ts.Fatalf("deleting %s: %s", args[2], resp.Status)
	}
}

// scriptLayout: layout DIR TAG SAMPLE writes an OCI layout.
func scriptLayout(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: layout DIR TAG SAMPLE")
	}
	ts.Check(testimage.WriteLayout(ts.MkAbs(args[0]), args[1], sample(ts, args[2])))
}

// scriptArchive: archive FILE REFERENCE SAMPLE writes what docker save writes.
func scriptArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: archive FILE REFERENCE SAMPLE")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	err = testimage.WriteArchive(f, testimage.Named{Name: args[1], Content: sample(ts, args[2])})
	ts.Check(errors.Join(err, f.Close()))
}

// scriptDocuments: documents FILE N BROKEN writes N pods as YAML documents, of
// which number BROKEN cannot be read. They name few images.
func scriptDocuments(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: documents FILE N BROKEN")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	broken, err := strconv.Atoi(args[2])
	ts.Check(err)
	var b strings.Builder
	for i := range n {
		name := fmt.Sprintf("p%d", i)
		if i == broken {
			name = "[broken"
		}
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers: [{name: c, image: \"app:%d\"}]\n---\n", name, i%3)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// scriptDigest: digest VAR SAMPLE [config] sets $VAR to the digest of a sample
// image, or of its configuration.
func scriptDigest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: digest VAR SAMPLE [config]")
	}
	c := sample(ts, args[1])
	d := c.Digest()
	if len(args) > 2 {
		d = configDigest(c)
	}
	ts.Setenv(args[0], string(d))
	ts.Setenv(args[0]+"_SHORT", d.Short())
}

// scriptExpand: expand FILE... replaces $VAR and ${VAR} in files.
func scriptExpand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		b, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(string(b), ts.Getenv)), 0o600))
	}
}

// scriptRequests: [!] requests REGISTRY METHOD PART says that a registry was
// asked so since the last such line; ! that it was not.
func scriptRequests(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: requests REGISTRY METHOD PART")
	}
	r := registryOf(ts, args[0])
	method := args[1]
	if method == "ANY" {
		method = ""
	}
	n := r.Count(method, args[2])
	r.ResetRequests()
	if (n > 0) == neg {
		ts.Fatalf("%d requests %s %s", n, args[1], args[2])
	}
}

// scriptAwait: await REGISTRY PART waits until a registry was asked for a path
// that contains PART.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await REGISTRY PART")
	}
	r := registryOf(ts, args[0])
	for end := time.Now().Add(30 * time.Second); r.Count("", args[1]) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("nobody asks %s for %s", args[0], args[1])
		}
	}
}

// scriptEventually: eventually ARG... calls the program until it succeeds, for
// what a server does by itself.
func scriptEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually ARG...")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var stderr strings.Builder
		code := cli.Run(context.Background(), append([]string{"dossier"}, args...), nil, strings.NewReader(""), io.Discard, &stderr)
		if code == 0 {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("dossier %s ends with %d: %s", strings.Join(args, " "), code, stderr.String())
		}
	}
}

// scriptMask: mask FILE replaces times and ports, which differ from run to run.
func scriptMask(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		b := []byte(ts.ReadFile(name))
		for _, m := range masks {
			b = m.pattern.ReplaceAll(b, []byte(m.by))
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o600))
	}
}

// scriptServe: serve VAR FLAG... runs dossier serve until the script ends; $VAR
// is its URL, $VAR_HOST its HOST:PORT.
func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve VAR FLAG...")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var env []string
	for _, name := range []string{"XDG_DATA_HOME", "HOME", "KUBECONFIG", "DOCKER_CONFIG"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	stderr := &firstMatch{pattern: regexp.MustCompile(`listening on (http://\S+)`), found: make(chan string, 1)}
	done := make(chan int, 1)
	flags := slices.Clone(args[1:])
	for i := 1; i < len(flags); i++ {
		if slices.Contains([]string{"--data", "--config"}, flags[i-1]) { // the server runs in this process, which is elsewhere
			flags[i] = ts.MkAbs(flags[i])
		}
	}
	go func() {
		done <- cli.Run(ctx, append([]string{"dossier", "serve", "--listen", "127.0.0.1:0"}, flags...), env, strings.NewReader(""), io.Discard, stderr)
	}()
	ts.Defer(func() {
		cancel()
		if code := <-done; code != 0 {
			ts.Logf("serve ended with %d: %s", code, stderr.text())
		}
	})
	select {
	case url := <-stderr.found:
		ts.Setenv(args[0], url)
		ts.Setenv(args[0]+"_HOST", strings.TrimPrefix(url, "http://"))
	case code := <-done:
		done <- code
		ts.Fatalf("serve ended with %d: %s", code, stderr.text())
	case <-time.After(30 * time.Second):
		ts.Fatalf("serve does not listen: %s", stderr.text())
	}
}

// firstMatch is a writer that tells the first match of a pattern.
type firstMatch struct {
	pattern *regexp.Regexp
	found   chan string

	mu   sync.Mutex
	seen []byte
	told bool
}

func (f *firstMatch) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, b...)
	if m := f.pattern.FindSubmatch(f.seen); m != nil && !f.told {
		f.told = true
		f.found <- string(m[1])
	}
	return len(b), nil
}

func (f *firstMatch) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.seen)
}

// scriptZip: zip OUT FILE... makes a zip archive of files, by their names.
func scriptZip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: zip OUT FILE...")
	}
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := zip.NewWriter(out)
	for _, name := range args[1:] {
		f, err := w.Create(filepath.Base(name))
		ts.Check(err)
		_, err = io.WriteString(f, ts.ReadFile(name))
		ts.Check(err)
	}
	ts.Check(w.Close())
	ts.Check(out.Close())
}
