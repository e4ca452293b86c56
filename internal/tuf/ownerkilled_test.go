// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store/mortal"
)

// step makes one step of an owner.
func (v victim) step(c Ceremony) error {
	var err error
	switch v.Ceremony {
	case "init":
		err = c.Init(Init{Prefix: testPrefix, RootKeys: [][]byte{v.Key}, RootThreshold: 1, TargetsKeys: [][]byte{v.Key}, TargetsThreshold: 1, OnlineKey: victimOnline})
	case "delegate":
		err = c.Delegate(Delegation{Role: "release", Repositories: []string{testPrefix + "/app"}, Keys: [][]byte{v.Key}})
	case "rotate online":
		_, err = c.ChangeKeys(KeyChange{Role: Online, Add: v.Key})
	case "add-key":
		_, err = c.ChangeKeys(KeyChange{Role: Root, Add: v.Key})
	case "renew":
		err = c.Renew(Targets)
	case "target":
		err = c.AddTarget(Targets, testPrefix+"/x:1", dossier.FromBytes(nil), 1)
	default:
		err = errors.New("there is no such step")
	}
	return err
}

// victimOnline is a public key, whose private half nobody has.
var victimOnline = []byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n")

// TestOwnerKilled kills an owner's command at every step at which it changes the directory. All files are whole then, no
// version of root is lost, and the same command begins or ends what was begun.
func TestOwnerKilled(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second)
	me := newOwner(t)
	base := filepath.Join(t.TempDir(), "base")
	c := Ceremony{Dir: base, Now: func() time.Time { return at }}
	for _, step := range []string{"init", "delegate online", "sign", "delegate", "rotate online", "add-key", "renew", "target"} {
		v := victim{Dir: base, Ceremony: step, Key: newOwner(t).public, Now: at}
		if step == "init" {
			v.Key = me.public
		}
		switch step {
		case "delegate online":
			if err := c.Delegate(Delegation{Role: Online, Repositories: []string{testPrefix + "/**"}}); err != nil {
				t.Fatal(err)
			}
			continue
		case "sign":
			for _, role := range []string{Root, Targets} {
				if _, err := c.Sign(role, me.Signer); err != nil {
					t.Fatal(err)
				}
			}
			continue
		case "init":
			if err := os.MkdirAll(base, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		v.Dir = copyDir(t, base)
		_, points := mortal.Run(t, v, 0)
		if len(points) < 4 {
			t.Errorf("%s comes by %q", step, points)
		}
		for i, point := range points {
			t.Run(step+"/"+point, func(t *testing.T) {
				v := v
				v.Dir = copyDir(t, base)
				mortal.Run(t, v, i+1)
				checkFiles(t, base, v.Dir)
				again := Ceremony{Dir: v.Dir, Now: c.Now}
				err := v.step(again)
				if strings.HasSuffix(point, "renamed "+lastFile(step)) {
					// It was done: a key that is there already, or a directory that is not empty, is said to be so.
					if err != nil && dossier.KindOf(err) != dossier.KindConflict {
						t.Fatal(err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				for _, role := range []string{Root, Targets} {
					if _, err := again.Sign(role, me.Signer); err != nil {
						t.Fatal(err)
					}
				}
				if list, err := again.Status(); err != nil || !list[0].Whole || !list[1].Whole {
					t.Errorf("it cannot be signed to the end: %+v, %v", list, err)
				}
				if step == "rotate online" {
					checkOnline(t, again)
				}
			})
		}
		if step == "init" {
			if err := v.step(c); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// lastFile is what a step writes last.
func lastFile(step string) string {
	switch step {
	case "init":
		return "1.root.json"
	case "rotate online", "add-key":
		return "2.root.json"
	}
	return "targets.json"
}

// checkFiles checks that each file is whole, and that none of before is gone.
func checkFiles(t *testing.T, before, dir string) {
	t.Helper()
	for _, d := range []string{before, dir} {
		names, err := filepath.Glob(filepath.Join(d, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			body, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
			if err != nil {
				t.Errorf("%s is gone: %v", filepath.Base(name), err)
				continue
			}
			role := Targets
			if strings.HasSuffix(name, ".root.json") {
				role = Root
			}
			if _, err := header(role, body); err != nil {
				t.Errorf("%s: %v", filepath.Base(name), err)
			}
		}
	}
}

// checkOnline checks that root and targets name one online key.
func checkOnline(t *testing.T, c Ceremony) {
	t.Helper()
	root, err := readRole[metadata.RootType](c, Root)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := readRole[metadata.TargetsType](c, Targets)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := root.Signed.Roles[Timestamp].KeyIDs, delegatesOnline(targets).KeyIDs; !slices.Equal(a, b) {
		t.Errorf("root names the online key %s, targets %s", a, b)
	}
}
