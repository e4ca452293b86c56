// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every implementation of store.Store
// passes: each promise of that package's documentation is a case here.
//
// It promises to use nothing but the interface, so that what it finds true of
// one engine is true of the other. It does not measure; benchmarks stand beside
// the implementations.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// Run runs the suite. open returns a new, empty store, and closes it when the
// test ends; a case may have closed it already.
func Run(t *testing.T, open func(t testing.TB) store.Store) {
	topics := []struct {
		name  string
		cases []testCase
	}{
		{"Transaction", transactionCases()},
		{"Fact", factCases()},
		{"Image", imageCases()},
		{"Package", packageCases()},
		{"Term", termCases()},
		{"Tag", tagCases()},
		{"Place", placeCases()},
		{"Run", runCases()},
		{"Job", jobCases()},
		{"Notice", noticeCases()},
		{"Notify", notifyCases()},
		{"Blob", blobCases()},
		{"Quota", quotaCases()},
		{"Registry", registryCases()},
		{"Content", contentCases()},
		{"Garbage", garbageCases()},
		{"Scrub", scrubCases()},
		{"Log", logCases()},
		{"Upstream", upstreamCases()},
		{"Advisory", advisoryCases()},
		{"Finding", findingCases()},
		{"SigningKey", signingKeyCases()},
		{"Event", eventCases()},
		{"Pin", pinCases()},
		{"TUF", tufCases()},
		{"SignerPin", signerPinCases()},
		{"Rebuild", rebuildCases()},
	}
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) {
			for _, c := range topic.cases {
				t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
			}
		})
	}
}

// testCase is one promise.
type testCase struct {
	name string
	run  func(t *testing.T, s store.Store)
}

// update runs f in a transaction that must succeed.
func update(t testing.TB, s store.Store, f func(store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// view runs f on a state that must be readable.
func view(t testing.TB, s store.Store, f func(store.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), f); err != nil {
		t.Fatalf("View: %v", err)
	}
}

// read returns what f reads.
func read[T any](t testing.TB, s store.Store, f func(store.Reader) (T, error)) T {
	t.Helper()
	var v T
	view(t, s, func(r store.Reader) (err error) {
		v, err = f(r)
		return err
	})
	return v
}

// written returns what f, which writes, returns.
func written[T any](t testing.TB, s store.Store, f func(store.Tx) (T, error)) T {
	t.Helper()
	var v T
	update(t, s, func(tx store.Tx) (err error) {
		v, err = f(tx)
		return err
	})
	return v
}

// collect reads a sequence to its end.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for v, err := range seq {
		if err != nil {
			return list, err
		}
		list = append(list, v)
	}
	return list, nil
}

// digest returns a digest that name stands for.
func digest(name string) dossier.Digest { return dossier.FromBytes([]byte(name)) }

// digests returns the digests of "PREFIX0" and so on.
func digests(prefix string, n int) []dossier.Digest {
	list := make([]dossier.Digest, n)
	for i := range list {
		list[i] = digest(fmt.Sprint(prefix, i))
	}
	return list
}

// minute returns a time n minutes after one long past, with microseconds.
func minute(n int) time.Time {
	return time.Date(2024, 5, 17, 9, 0, 0, 123456000, time.UTC).Add(time.Duration(n) * time.Minute)
}

// together calls f in n goroutines and waits for all. f gets its number.
func together(t testing.TB, n int, f func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = f(i) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// wantKind checks an error's kind and that it is a *dossier.Error.
func wantKind(t testing.TB, err error, want dossier.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*dossier.Error](err); !ok || e.Op == "" {
		t.Errorf("error is %T (%v), want a *dossier.Error with an Op", err, err)
	}
	if got := dossier.KindOf(err); got != want {
		t.Errorf("error %v: kind is %q, want %q", err, got, want)
	}
}

// soon returns a context for something that must not hang.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
