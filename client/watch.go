// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"time"

	"dossier.dev/dossier"
)

// silence is how long a watch may be without a byte. A server sends an empty
// line each 15 seconds.
const silence = time.Minute

var (
	errSilent = errors.New("nothing was heard for " + silence.String())
	errEnded  = errors.New("the connection ended")
)

// Watch yields the images that q selects, then a ChangeSynced, then every image
// that changes, until ctx ends. It does not reconnect: when the connection
// breaks or the server ends it, the last thing it yields is an error; the
// caller may begin anew, and gets everything again.
func (c *Client) Watch(ctx context.Context, q dossier.ImagesQuery) iter.Seq2[dossier.Change, error] {
	return func(yield func(dossier.Change, error) bool) {
		outer := ctx
		ctx, cancel := context.WithCancelCause(outer)
		defer cancel(nil)
		fail := func(err error) {
			if outer.Err() == nil {
				yield(dossier.Change{}, err)
			}
		}
		query := imagesQuery(q)
		query.Set("watch", "true")
		resp, err := c.do(ctx, []string{"images"}, query)
		if err != nil {
			fail(err)
			return
		}
		defer resp.Body.Close()
		timer := time.AfterFunc(silence, func() { cancel(errSilent) })
		defer timer.Stop()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, MaxLine)
		for lines.Scan() {
			timer.Stop() // the time that the caller takes is no silence
			if len(bytes.TrimSpace(lines.Bytes())) > 0 {
				change, err := parseLine(lines.Bytes())
				if err != nil {
					fail(c.watchError(err))
					return
				}
				if !yield(change, nil) {
					return
				}
			}
			timer.Reset(silence)
		}
		err = lines.Err()
		switch {
		case errors.Is(context.Cause(ctx), errSilent):
			err = errSilent
		case err == nil, errors.Is(err, io.ErrUnexpectedEOF):
			err = errEnded
		}
		fail(c.watchError(err))
	}
}

// parseLine reads a line of a watch. The error may be the server's own.
func parseLine(line []byte) (dossier.Change, error) {
	var l dossier.ChangeLine
	if err := json.Unmarshal(line, &l); err != nil {
		return dossier.Change{}, &dossier.Error{Kind: dossier.KindCorrupt, Op: "reading a change", Err: err}
	}
	switch {
	case l.Error != nil:
		return dossier.Change{}, l.Error.Err()
	case l.Type == "", l.Image == nil && l.Type != dossier.ChangeSynced:
		return dossier.Change{}, dossier.Errorf(dossier.KindCorrupt, "reading a change", "", "it has no type or no image")
	}
	return l.Change, nil
}

// watchError is err, or that the connection broke for that reason.
func (c *Client) watchError(err error) error {
	if _, ok := errors.AsType[*dossier.Error](err); ok {
		return err
	}
	kind := dossier.KindUnavailable
	if errors.Is(err, bufio.ErrTooLong) {
		kind = dossier.KindLimit
	}
	return &dossier.Error{Kind: kind, Op: "watching", Subject: c.name(), Err: err, Hint: "run the command again"}
}
