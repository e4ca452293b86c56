// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// logOf returns the log of the trusted root that an entry says it is in.
func (a *attempt) logOf(e *tlog.Entry) (*root.TransparencyLog, bool) {
	l, ok := a.root.logs()[hex.EncodeToString([]byte(e.LogKeyID()))]
	return l, ok
}

// known are the entries in logs of the trusted root. Others say nothing.
func (a *attempt) known() []*tlog.Entry {
	var out []*tlog.Entry
	for _, e := range a.entries {
		if _, ok := a.logOf(e); ok {
			out = append(out, e)
		}
	}
	return out
}

// eachEntry runs a part of a check on each known entry.
func (a *attempt) eachEntry(part func(*tlog.Entry, *root.TransparencyLog) *fault) (string, *fault) {
	known := a.known()
	var names []string
	for _, e := range known {
		l, _ := a.logOf(e)
		name := fmt.Sprintf("%s %d", firstOf(l.BaseURL, hex.EncodeToString(l.ID)), e.LogIndex())
		names = append(names, name)
		if f := part(e, l); f != nil {
			f.detail = name + ": " + f.detail
			return strings.Join(names, ", "), f
		}
	}
	return strings.Join(names, ", "), nil
}

// logPromise verifies what a log promised: the signed entry timestamp.
func (a *attempt) logPromise() (string, *fault) {
	return a.eachEntry(func(e *tlog.Entry, l *root.TransparencyLog) *fault {
		if !e.HasInclusionPromise() {
			return nil
		}
		unbounded := *l // when the log was valid is looked at by log-time
		unbounded.ValidityPeriodStart, unbounded.ValidityPeriodEnd = time.Unix(0, 0), time.Time{}
		if err := tlog.VerifySET(e, map[string]*root.TransparencyLog{hex.EncodeToString(l.ID): &unbounded}); err != nil {
			return faultf(CodeLogPromise, "%s", plain(err))
		}
		return nil
	})
}

// logInclusion follows the hashes from the entry to the root that is named.
func (a *attempt) logInclusion() (string, *fault) {
	return a.eachEntry(func(e *tlog.Entry, _ *root.TransparencyLog) *fault {
		if !e.HasInclusionProof() {
			return nil
		}
		raw := e.TransparencyLogEntry()
		p := raw.GetInclusionProof()
		leaf := rfc6962.DefaultHasher.HashLeaf(raw.GetCanonicalizedBody())
		if p.GetLogIndex() < 0 || p.GetTreeSize() < 0 {
			return faultf(CodeLogPath, "its place %d in %d entries cannot be", p.GetLogIndex(), p.GetTreeSize())
		}
		err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.GetLogIndex()), uint64(p.GetTreeSize()), leaf, p.GetHashes(), p.GetRootHash())
		if err != nil {
			return faultf(CodeLogPath, "%s", plain(err))
		}
		return nil
	})
}

// originV1 is how logs of Rekor v1 name themselves in a checkpoint: with a number.
var originV1 = regexp.MustCompile(`^.* - [0-9]+$`)

// logCheckpoint verifies that the log signed the root.
func (a *attempt) logCheckpoint() (string, *fault) {
	return a.eachEntry(func(e *tlog.Entry, l *root.TransparencyLog) *fault {
		if !e.HasInclusionProof() {
			return nil
		}
		v, err := logVerifier(l)
		if err != nil {
			return faultf(CodeCheckpoint, "%s", plain(err))
		}
		origin, _, _ := strings.Cut(e.TransparencyLogEntry().GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n")
		if originV1.MatchString(origin) {
			err = tlog.VerifyInclusion(e, v)
		} else {
			var u *url.URL
			if u, err = url.Parse(l.BaseURL); err == nil {
				err = tlog.VerifyCheckpointAndInclusion(e, v, u.Hostname())
			}
		}
		if err != nil {
			return faultf(CodeCheckpoint, "%s", plain(err))
		}
		return nil
	})
}

// logEntry compares the entry with what was signed, by whom and how.
func (a *attempt) logEntry() (string, *fault) {
	return a.eachEntry(func(e *tlog.Entry, _ *root.TransparencyLog) *fault {
		if !bytes.Equal(e.Signature(), a.signature) {
			return faultf(CodeLogEntry, "it is the entry of another signature")
		}
		switch k := e.PublicKey().(type) {
		case *x509.Certificate:
			if a.leaf == nil || !k.Equal(a.leaf) {
				return faultf(CodeLogEntry, "it names another certificate")
			}
		default:
			if a.leaf != nil || !sameKey(a.public, k) {
				return faultf(CodeLogEntry, "it names another key")
			}
		}
		if !a.sameContent(e) {
			return faultf(CodeLogEntry, "it is the entry of other bytes")
		}
		return nil
	})
}

// sameContent reports whether an entry is of what was signed.
func (a *attempt) sameContent(e *tlog.Entry) bool {
	if a.envelope != nil && !e.IsRekorV2() {
		got, ok := e.GetDssePayloadHash()
		want := sha256.Sum256(a.envelope.payload)
		return ok && bytes.Equal(got, want[:])
	}
	got, algorithm, ok := e.GetHashedRekordDigest()
	if !ok {
		return false
	}
	h := map[string]crypto.Hash{
		"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
		"SHA2_256": crypto.SHA256, "SHA2_384": crypto.SHA384, "SHA2_512": crypto.SHA512,
	}[algorithm]
	if h == 0 {
		return false
	}
	var want []byte
	switch {
	case a.envelope != nil:
		want = sum(h, a.envelope.pae())
	case a.message != nil:
		want = sum(h, a.message)
	case h == a.hash:
		want = a.digest
	}
	return want != nil && bytes.Equal(got, want)
}

// logTime compares when an entry was made with what its log and the certificate were
// valid for. Entries of Rekor v2 have no time of their own: that of the timestamps is
// taken.
func (a *attempt) logTime() (string, *fault) {
	return a.eachEntry(func(e *tlog.Entry, l *root.TransparencyLog) *fault {
		at := e.IntegratedTime()
		if at.IsZero() {
			for _, t := range a.times {
				if f := within(t.at, l.ValidityPeriodStart, l.ValidityPeriodEnd); f != "" {
					return faultf(CodeLogTime, "the log %s at %s", f, stamp(t.at))
				}
			}
			return nil
		}
		if f := within(at, l.ValidityPeriodStart, l.ValidityPeriodEnd); f != "" {
			return faultf(CodeLogTime, "the log %s at %s", f, stamp(at))
		}
		if a.leaf != nil {
			if f := within(at, a.leaf.NotBefore, a.leaf.NotAfter); f != "" {
				return faultf(CodeLogTime, "the certificate %s at %s", f, stamp(at))
			}
		}
		if e.HasInclusionPromise() { // only then it is signed
			a.times = append(a.times, observed{at.UTC(), "log " + firstOf(l.BaseURL, hex.EncodeToString(l.ID))})
		}
		return nil
	})
}

// logThreshold counts the logs, each key once whatever it is called.
func (a *attempt) logThreshold() (string, *fault) {
	logs := map[string]bool{}
	for _, e := range a.known() {
		l, _ := a.logOf(e)
		logs[keyName(l.PublicKey)] = true
	}
	in := fmt.Sprintf("%d of %d", len(logs), a.needLogs)
	if len(logs) < a.needLogs {
		return in, faultf(CodeLogUnknown, "it is in %d logs of the trusted root, %d are needed (%d entries are there)", len(logs), a.needLogs, len(a.entries))
	}
	return in, nil
}

// within says what is wrong with a time, or "". Both ends belong to the range.
func within(at, from, until time.Time) string {
	switch {
	case !from.IsZero() && at.Before(from):
		return "was not valid yet"
	case !until.IsZero() && at.After(until):
		return "was no longer valid"
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
