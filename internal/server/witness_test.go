// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dossier.dev/dossier/client"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/testimage"
	"dossier.dev/dossier/internal/translog"
)

// TestWitnessEachOther has two servers witness the logs of one another: what is pushed to either gets
// a checkpoint that both have signed.
func TestWitnessEachOther(t *testing.T) {
	const servers = 2
	var keys [servers]string
	var witnesses [servers]*translog.Witness
	var configs [servers]ServeConfig
	for i := range servers {
		dir := t.TempDir()
		var err error
		if _, keys[i], err = translog.OpenKey(filepath.Join(dir, LogKeyFile)); err != nil {
			t.Fatal(err)
		}
		if _, witnesses[i], err = translog.WitnessSigner(filepath.Join(dir, WitnessKeyFile), nil); err != nil {
			t.Fatal(err)
		}
		configs[i] = ServeConfig{Config: Config{Data: dir, Offline: true}, Listen: "127.0.0.1:0", NoCluster: true}
	}
	// The second learns where the first is, and the first where the second will be, from its port.
	configs[0].Witness.Logs = []string{keys[1]}
	first := serve(t, configs[0])
	configs[1].Witness.Logs = []string{keys[0]}
	configs[1].Witnesses = []config.Asked{{URL: first.url + "/witness", Key: witnesses[0].String()}}
	second := serve(t, configs[1])
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	configs[0].Listen = first.url[len("http://"):]
	configs[0].Witnesses = []config.Asked{{URL: second.url + "/witness", Key: witnesses[1].String()}}
	first = serve(t, configs[0])
	for i, s := range []serving{first, second} {
		image, err := testimage.Image{Author: s.url}.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := testimage.Push(t.Context(), nil, s.url, "org/web", "1.0", image); err != nil {
			t.Fatal(err)
		}
		c, err := client.New(s.url, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		other := witnesses[1-i]
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			signed, err := c.Log(t.Context(), "checkpoint")
			times, err2 := translog.Cosigned(signed, []*translog.Witness{other})
			if err == nil && err2 == nil && len(times) == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("server %d: %v, %v: %s", i, err, err2, signed)
			}
		}
	}
}

func TestValidateWitnesses(t *testing.T) {
	c := ServeConfig{Config: Config{Database: "postgres://x"}, Witness: config.Witness{Logs: []string{"x"}}, Witnesses: []config.Asked{{URL: "x", Key: "y"}}}
	err := c.Validate()
	for _, want := range []string{"witnesses[0].key", "witnesses[0].url", "witness.logs[0]", "witness.key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
