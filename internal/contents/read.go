// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package contents

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/layer"
)

// Layer is a layer that can be read. Its DiffID is the one in the image's
// configuration.
type Layer = layer.Source

// Options say how layers are read. The zero value is the default.
type Options struct {
	Limits   Limits
	TempDir  string // for files larger than Limits.Memory; empty: os.TempDir()
	Parallel int    // layers that are read at a time; 2
	// Known returns what was found in a layer before, by this Version, and
	// reports whether it was. nil: nothing is known.
	Known func(ctx context.Context, digest dossier.Digest) (LayerResult, bool, error)
}

// Result is what Read found.
type Result struct {
	Layers []LayerResult // as the layers given, base first
	New    []int         // those of Layers that were read now, without doubles, rising
	Image  Image         // Fold(Layers)
}

// Read reads the layers of an image, base first, that are not known, and folds
// all of them. A layer that occurs twice is read once. It fails as ReadLayer.
func Read(ctx context.Context, layers []Layer, o Options) (Result, error) {
	result := Result{Layers: make([]LayerResult, len(layers))}
	first := map[dossier.Digest]int{}
	for i, l := range layers {
		if _, ok := first[l.Digest]; ok {
			continue
		}
		first[l.Digest] = i
		known, ok, err := o.known(ctx, l)
		if err != nil {
			return Result{}, err
		}
		if ok {
			result.Layers[i] = known
		} else {
			result.New = append(result.New, i)
		}
	}
	if err := readAll(ctx, layers, result.New, result.Layers, o); err != nil {
		return Result{}, err
	}
	for i, l := range layers {
		result.Layers[i] = result.Layers[first[l.Digest]]
		if err := sameContent(l, result.Layers[i]); err != nil {
			return Result{}, err
		}
	}
	result.Image = Fold(result.Layers)
	return result, nil
}

// known looks a layer up. What another version found does not count.
func (o Options) known(ctx context.Context, l Layer) (LayerResult, bool, error) {
	if o.Known == nil {
		return LayerResult{}, false, nil
	}
	r, ok, err := o.Known(ctx, l.Digest)
	if err != nil {
		return LayerResult{}, false, fmt.Errorf("looking for the contents of layer %s: %w", l.Digest, err)
	}
	return r, ok && r.Version == Version && r.Digest == l.Digest, nil
}

// sameContent compares what the image's configuration says of a layer with what
// was found in it.
func sameContent(l Layer, r LayerResult) error {
	if l.DiffID == "" || r.DiffID == "" || l.DiffID == r.DiffID {
		return nil
	}
	return dossier.Errorf(dossier.KindCorrupt, "reading layer", string(l.Digest),
		fmt.Sprintf("decompressed it has the digest %s, the image's configuration says %s", r.DiffID, l.DiffID))
}

// readAll reads the layers of which the indexes are in todo into results, a few
// at a time, the largest first: the last to be read keeps the others waiting for
// less. The first error ends all.
func readAll(ctx context.Context, layers []Layer, todo []int, results []LayerResult, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = 2
	}
	for range min(parallel, len(todo)) {
		workers.Go(func() {
			for i := range next {
				r, err := ReadLayer(ctx, layers[i], o)
				if err != nil {
					cancel(err)
					continue
				}
				results[i] = r
			}
		})
	}
	for _, i := range slices.SortedStableFunc(slices.Values(todo), func(a, b int) int { return cmp.Compare(layers[b].Size, layers[a].Size) }) {
		next <- i
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// ReadLayer reads one layer. A layer whose digest is right and that is no
// archive, a truncated one, or larger than a limit is no error: its result says
// so in Missed, and holds what was found until then.
//
// It fails with KindCorrupt when the bytes are not those of Digest or DiffID,
// KindLimit when Compressed or Time are exceeded, KindStorage when there is no
// room for temporary files, or as Open does.
func ReadLayer(ctx context.Context, l Layer, o Options) (LayerResult, error) {
	limits := o.Limits.orDefault()
	all, err := extractors(limits)
	if err != nil {
		return LayerResult{}, err
	}
	r := newReader(limits, o.TempDir, all)
	defer r.close()
	timed, cancel := context.WithTimeoutCause(ctx, limits.Time, errLayerTime)
	defer cancel()
	if err := r.read(timed, l); err != nil {
		if ctx.Err() == nil && errors.Is(context.Cause(timed), errLayerTime) {
			return LayerResult{}, dossier.Errorf(dossier.KindLimit, "reading layer", string(l.Digest), fmt.Sprintf("it takes longer than %v", limits.Time))
		}
		return LayerResult{}, err
	}
	return r.finish(), nil
}

var errLayerTime = errors.New("the time for a layer is over")

// read reads a layer, and once more when hard links ask for files that were
// passed by.
func (r *reader) read(ctx context.Context, l Layer) error {
	sum, err := layer.Walk(ctx, l, r.limits.layer(), func(h *tar.Header, body io.Reader) error { return r.take(ctx, h, body) })
	if err != nil && !isPartial(sum, err) {
		return err
	}
	r.out.Digest, r.out.DiffID = sum.Digest, sum.DiffID
	r.out.Size, r.out.Unpacked, r.out.Entries = sum.Size, sum.Unpacked, sum.Entries
	if err != nil {
		r.miss("", dossier.MissedLayer, cause(err))
	}
	if len(r.linked) > 0 {
		_, err := layer.Walk(ctx, l, r.limits.layer(), func(h *tar.Header, body io.Reader) error { return r.takeLinked(ctx, h, body) })
		if err != nil && !isPartial(sum, err) {
			return err
		}
	}
	return r.again(ctx)
}

// isPartial reports whether what was read before err stands: the bytes are
// those of the digest, and the layer is as it is.
func isPartial(sum layer.Summary, err error) bool {
	switch dossier.KindOf(err) {
	case dossier.KindInvalid, dossier.KindUnsupported, dossier.KindLimit:
		return sum.Digest != ""
	}
	return false
}

// cause returns the innermost words of an error of this program.
func cause(err error) string {
	for {
		e, ok := errors.AsType[*dossier.Error](err)
		if !ok || e.Err == nil {
			return printable(err.Error())
		}
		err = e.Err
	}
}
