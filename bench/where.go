// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dossier.dev/dossier/bench/load"
	"dossier.dev/dossier/bench/measure"
	"dossier.dev/dossier/internal/server"
)

const (
	whereLimit   = 20 * time.Millisecond
	whereTerms   = 1000 // asked for in process
	whereStarts  = 40   // commands run
	whereResults = 100  // the limit of one answer
)

// term is the i-th thing to look for. Kinds of terms take turns.
func (l *lab) term(i int) string {
	image := l.images.List[i*7%len(l.images.List)]
	switch i % 5 {
	case 0:
		return l.registry.host + "/" + image.Repository
	case 1:
		return image.Revision
	case 2:
		return image.Source
	case 3:
		return image.Digests[i%len(image.Digests)].Hex()[:12]
	}
	return image.Revision[:8]
}

func measureWhere(ctx context.Context, l *lab, r *report) error {
	data, err := l.needFilled(ctx)
	if err != nil {
		return err
	}
	engine, err := server.Open(ctx, server.Config{Data: data, Offline: true})
	if err != nil {
		return err
	}
	defer engine.Close()
	var inProcess, wide load.Sample
	for i := range whereTerms {
		begin := time.Now()
		found, err := engine.Where(ctx, l.term(i), whereResults)
		if err == nil && len(found.Found) != 1 {
			err = fmt.Errorf("%q is found in %d images, want 1", l.term(i), len(found.Found))
		}
		inProcess.Add(time.Since(begin), err)
	}
	for range 20 {
		begin := time.Now()
		found, err := engine.Where(ctx, "Apache-2.0", whereResults)
		if err == nil && len(found.Found) != whereResults {
			err = errors.New("a term that all images have is not found in all")
		}
		wide.Add(time.Since(begin), err)
	}
	var command load.Sample
	for i := range whereStarts {
		u, err := measure.Run(ctx, l.dossier("where", l.term(i), "--data", data))
		command.Add(u.Wall, err)
	}
	r.note("store", "%v, %d digests, %d images of them", l.size, 5*l.size.images, l.size.images)
	r.quantiles("one of 5 kinds of term, in process", &inProcess, whereLimit)
	r.note(fmt.Sprintf("a term of all images, %d shown", whereResults), "%v", &wide)
	r.note("dossier where, the whole command", "%v", &command)
	return nil
}
