// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/contents/bill"
	"dossier.dev/dossier/internal/intoto"
	"dossier.dev/dossier/internal/origin"
	"dossier.dev/dossier/internal/record"
	"dossier.dev/dossier/internal/store"
	"dossier.dev/dossier/internal/vex"
)

// isVEX recognises VEX documents by their media type.
func isVEX(mediaType string) bool {
	return slices.Contains([]string{"application/vnd.openvex+json", "application/openvex+json", "application/vex+json", "text/vex+json", "application/csaf+json", "application/vnd.csaf+json"}, mediaType)
}

// isVEXPredicate recognises statements that hold one.
func isVEXPredicate(predicate string) bool {
	return strings.HasPrefix(predicate, "https://openvex.dev/ns") || strings.HasPrefix(predicate, "https://cyclonedx.org/vex") ||
		strings.HasPrefix(predicate, "https://docs.oasis-open.org/csaf")
}

// read reads the document, and finds out whether it is a bill of materials, a VEX
// document, or both. One that cannot be made sense of is no error: it is kept
// that it is there, and why it was not read. A statement about something else is
// neither.
func (a *attached) read(ctx context.Context, from Artifacts) error {
	problem, err := a.fetch(ctx, from)
	if err != nil {
		return err
	}
	if problem != "" {
		a.bytes = nil
		a.fail(problem)
		return nil
	}
	if inner, err := intoto.Unwrap("reading attached document", a.bytes, maxBill); err == nil {
		if problem := a.mismatch(inner); problem != "" {
			a.bytes = nil
			switch {
			case isVEXPredicate(inner.PredicateType):
				a.vex = &dossier.AttachedVEX{}
				a.fail(problem)
			case isBillPredicate(inner.PredicateType):
				a.fail(problem)
			default:
				a.keepStatement(inner, problem)
			}
			return nil
		}
		switch {
		case isVEXPredicate(inner.PredicateType):
			a.vex = &dossier.AttachedVEX{}
		case !isBillPredicate(inner.PredicateType):
			a.keepStatement(inner, "")
			return nil
		}
	}
	d, vexErr := vex.Parse(a.bytes, vex.Limits{})
	switch {
	case vexErr == nil && (a.vex != nil || len(d.Statements) > 0):
		a.vex = &dossier.AttachedVEX{Format: strings.TrimSpace(d.Format + " " + d.Version), Author: d.Author, Statements: len(d.Statements)}
	case a.vex != nil && vexErr != nil:
		a.fail(vexErr.Error())
		return nil
	}
	b, err := bill.Parse(a.bytes, bill.Limits{})
	switch {
	case err == nil:
		a.bill = a.vex == nil || len(b.Packages) > 0
		a.Format, a.Tools, a.Packages = b.Format, b.Tools, len(b.Packages)
	case a.vex != nil:
	case dossier.KindOf(err) != dossier.KindUnsupported || isBill(a.blob.MediaType):
		a.fail(err.Error())
	}
	return nil
}

// mismatch says why a statement is not about the image that it is attached to, or not of
// the type that it is said to be; "" for what is no statement.
func (a *attached) mismatch(inner intoto.Document) string {
	switch {
	case inner.PredicateType == "":
		return ""
	case !slices.ContainsFunc(inner.Subjects, func(s intoto.Subject) bool { return s.SHA256 == a.on }):
		return "the statement does not speak of the image"
	case a.predicate != "" && a.predicate != inner.PredicateType:
		return fmt.Sprintf("it is said to be a %q, and is a %q", a.predicate, inner.PredicateType)
	}
	return ""
}

// maxStatement is how large a statement may be that is kept.
const maxStatement = 1 << 20

// keepStatement keeps a statement that nobody signed, when it is understood. What is
// signed is kept as a signature.
func (a *attached) keepStatement(inner intoto.Document, problem string) {
	if mediaType, _, _ := strings.Cut(a.blob.MediaType, ";"); mediaType != mediaTypeStatement || !origin.Understood(inner.PredicateType) {
		return
	}
	a.statement = &dossier.AttachedStatement{Predicate: inner.PredicateType, Problem: problem}
	switch _, err := origin.ParsePredicate(inner.PredicateType, inner.Bytes); {
	case problem != "":
	case err != nil:
		a.statement.Problem = err.Error()
	case len(a.bytes) > maxStatement:
		a.statement.Problem = fmt.Sprintf("it has %d bytes, at most %d are kept", len(a.bytes), maxStatement)
	default:
		a.statement.Bytes = a.bytes
	}
}

// fail keeps why the document was not read, for what it says that it is.
func (a *attached) fail(problem string) {
	if a.vex != nil {
		a.vex.Problem = problem
		return
	}
	a.bill, a.Problem = true, problem
}

// fetch reads the bytes of the document. problem says why they are no use.
func (a *attached) fetch(ctx context.Context, from Artifacts) (problem string, err error) {
	if a.blob.Size > maxBill {
		return fmt.Sprintf("it has %d bytes, at most %d are read", a.blob.Size, maxBill), nil
	}
	body, err := from.Blob(ctx, a.blob)
	if err == nil {
		a.bytes, err = io.ReadAll(io.LimitReader(body, maxBill+1))
		body.Close()
	}
	switch kind := dossier.KindOf(err); {
	case err == nil:
	case kind == dossier.KindNotFound, kind == dossier.KindCorrupt, kind == dossier.KindLimit:
		return err.Error(), nil
	default:
		return "", err
	}
	if len(a.bytes) > maxBill {
		return fmt.Sprintf("it has more than %d bytes", maxBill), nil
	}
	if !a.Document.Matches(a.bytes) {
		return "its bytes are not those of its digest", nil
	}
	return "", nil
}

// record writes what the document is, and the document.
func (a *attached) record(ctx context.Context, tx store.Tx, at time.Time) error {
	if a.bill {
		if err := record.Attached(ctx, tx, a.on, a.AttachedBill, a.bytes, at); err != nil {
			return err
		}
	}
	if a.statement != nil {
		s := *a.statement
		s.Document, s.How, s.Manifest = a.Document, a.How, a.Manifest
		return record.Statement(ctx, tx, a.on, s, at)
	}
	if a.vex == nil {
		return nil
	}
	v := *a.vex
	v.Document, v.How, v.Manifest = a.Document, a.How, a.Manifest
	return record.AttachedVEX(ctx, tx, a.on, v, a.bytes, at)
}
