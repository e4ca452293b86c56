// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

// crashKind is the kind of what WriteUntilKilled writes.
const crashKind = "crash"

// crashSubjects are the subjects whose chains it writes.
func crashSubjects() []dossier.Digest { return digests("crash ", 3) }

// WriteUntilKilled writes from several goroutines for as long as ctx lasts. Each
// transaction has a name of its own, which begins with prefix, and writes under
// it a fact about each of several subjects, a job, a blob and a tag; when it is
// committed, its name is written to out as a line, for CheckWritten.
func WriteUntilKilled(ctx context.Context, s store.Store, prefix string, out io.Writer) error {
	const writers = 4
	var mu sync.Mutex
	errs := make([]error, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil && errs[w] == nil; i++ {
				name := fmt.Sprintf("%s-%d-%d", prefix, w, i)
				if errs[w] = s.Update(ctx, func(tx store.Tx) error { return writeAll(ctx, tx, name) }); errs[w] != nil {
					return
				}
				mu.Lock()
				_, errs[w] = fmt.Fprintln(out, name)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// writeAll is one transaction of WriteUntilKilled.
func writeAll(ctx context.Context, tx store.Tx, name string) error {
	for _, subject := range crashSubjects() {
		s := dossier.Statement{Subject: subject, Kind: crashKind, Source: name, Body: []byte(strings.Repeat(name, 50))}
		if _, _, err := tx.Record(ctx, s); err != nil {
			return err
		}
	}
	if _, err := tx.Enqueue(ctx, store.Job{Kind: crashKind, Key: name}); err != nil {
		return err
	}
	if _, err := tx.PutBlob(ctx, store.Blob{Digest: digest(name), Key: name}); err != nil {
		return err
	}
	_, _, err := tx.PointTag(ctx, crashKind, name, digest(name), minute(0))
	return err
}

// CheckWritten checks what a killed WriteUntilKilled left: every transaction
// that it said was committed is there, each that is there is there whole, and
// the chains are. It returns how many there are.
func CheckWritten(t testing.TB, s store.Store, lines []byte) int {
	t.Helper()
	parts := map[string]int{} // how many of a transaction's parts were found
	view(t, s, func(r store.Reader) error {
		for _, subject := range crashSubjects() {
			facts, err := collect(r.Chain(t.Context(), subject))
			if err != nil {
				return err
			}
			if err := CheckChain(facts); err != nil {
				t.Error(err)
			}
			for _, f := range facts {
				parts[f.Source]++
			}
		}
		jobs, err := r.Jobs(t.Context(), crashKind, nil, 1<<30)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			parts[j.Key]++
		}
		tags, err := r.TagHistory(t.Context(), crashKind, "", 1<<30)
		if err != nil {
			return err
		}
		for _, tag := range tags {
			parts[tag.Tag]++
		}
		for name := range parts {
			if ok, err := hasBlob(t.Context(), r, name); err != nil {
				return err
			} else if ok {
				parts[name]++
			}
		}
		return nil
	})
	for name, n := range parts {
		if want := len(crashSubjects()) + 3; n != want {
			t.Errorf("transaction %s: %d parts of %d are there", name, n, want)
		}
	}
	for line := range bytes.Lines(lines) {
		name, whole := bytes.CutSuffix(line, []byte("\n"))
		if whole && len(name) > 0 && parts[string(name)] == 0 {
			t.Errorf("transaction %s was committed and is not there", name)
		}
	}
	return len(parts)
}
