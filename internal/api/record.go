// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store"
)

// Limits of what is read from the store for one response.
const (
	defaultFacts   = 100
	maxFactBytes   = 8 << 20 // of bodies: after it the page ends
	maxJobsRead    = 20_000  // of each kind, to find those that fail
	maxJobsFailing = 1000
)

// fact gives one fact.
func (h *Handler) fact(w http.ResponseWriter, r *http.Request, _ query) error {
	id, err := dossier.ParseDigest(r.PathValue("id"))
	if err != nil {
		return err
	}
	var fact dossier.Fact
	err = h.config.Store.View(r.Context(), func(reader store.Reader) (err error) {
		fact, err = reader.Fact(r.Context(), id)
		return err
	})
	if err != nil {
		return err
	}
	return h.respond(w, r, fact)
}

// facts gives a page of the chain of a subject.
func (h *Handler) facts(w http.ResponseWriter, r *http.Request, q query) error {
	subject, err := dossier.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	after, err := q.integer("after", 0)
	if err != nil {
		return err
	}
	limit, err := q.integer("limit", defaultFacts)
	if err != nil {
		return err
	}
	if limit < 1 || limit > MaxFacts {
		return q.invalid("limit", fmt.Sprintf("want 1 to MaxFacts, which is %d", MaxFacts))
	}
	list := dossier.FactList{Subject: subject}
	err = h.config.Store.View(r.Context(), func(reader store.Reader) error {
		list.Facts, list.Next = []dossier.Fact{}, 0
		size := 0
		for f, err := range reader.Chain(r.Context(), subject) {
			if err != nil {
				return err
			}
			if f.Seq <= after {
				continue
			}
			if len(list.Facts) > 0 && (int64(len(list.Facts)) == limit || size+len(f.Body) > maxFactBytes) {
				list.Next = list.Facts[len(list.Facts)-1].Seq
				return nil
			}
			list.Facts = append(list.Facts, f)
			size += len(f.Body)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return h.respond(w, r, list)
}

// jobs says how the work stands, and what of it fails.
func (h *Handler) jobs(w http.ResponseWriter, r *http.Request, _ query) error {
	list := dossier.JobList{AsOf: dossier.Instant(h.config.Now())}
	err := h.config.Store.View(r.Context(), func(reader store.Reader) error {
		list.Counts, list.Failing, list.Truncated = []dossier.JobCount{}, []dossier.FailingJob{}, false
		counts, err := reader.CountJobs(r.Context())
		if err != nil {
			return err
		}
		kinds := map[string]bool{}
		for _, c := range counts {
			list.Counts = append(list.Counts, dossier.JobCount{Kind: c.Kind, State: string(c.State), Count: c.N})
			if !kinds[c.Kind] {
				kinds[c.Kind] = true
				if err := addFailing(r.Context(), reader, c.Kind, &list); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list.Counts, func(a, b dossier.JobCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.State, b.State))
	})
	slices.SortFunc(list.Failing, func(a, b dossier.FailingJob) int {
		return cmp.Or(byParked(a, b), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	if len(list.Failing) > maxJobsFailing {
		list.Failing, list.Truncated = list.Failing[:maxJobsFailing], true
	}
	return h.respond(w, r, list)
}

// byParked puts parked jobs before others.
func byParked(a, b dossier.FailingJob) int {
	rank := func(j dossier.FailingJob) int {
		if j.State == string(store.JobParked) {
			return 0
		}
		return 1
	}
	return cmp.Compare(rank(a), rank(b))
}

// addFailing adds the jobs of a kind whose last attempt failed.
func addFailing(ctx context.Context, reader store.Reader, kind string, list *dossier.JobList) error {
	jobs, err := reader.Jobs(ctx, kind, nil, maxJobsRead)
	if err != nil {
		return err
	}
	list.Truncated = list.Truncated || len(jobs) == maxJobsRead
	for _, j := range jobs {
		if j.LastError == "" {
			continue
		}
		f := ingest.ParseFailure(j.LastError)
		list.Failing = append(list.Failing, dossier.FailingJob{
			Kind: j.Kind, Key: j.Key, State: string(j.State), Attempts: j.Attempts,
			CreatedAt: j.CreatedAt, RunAt: j.RunAt, Message: f.Message, Hint: f.Hint,
		})
	}
	return nil
}

// log hands a request on to the transparency log.
func (h *Handler) log(w http.ResponseWriter, r *http.Request, _ query) error {
	if h.config.Log == nil {
		return h.nothingHere(w, r, query{})
	}
	h.config.Log.ServeHTTP(w, r)
	return nil
}

// tuf hands a request to who serves signed metadata.
func (h *Handler) tuf(w http.ResponseWriter, r *http.Request, q query) error {
	if h.config.TUF == nil {
		return h.nothingHere(w, r, q)
	}
	h.config.TUF.ServeHTTP(w, r)
	return nil
}

// sameSite refuses what a page of another site makes a browser send.
func sameSite(r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return &dossier.Error{Kind: dossier.KindDenied, Op: "reading the request", Err: err}
	}
	return nil
}
