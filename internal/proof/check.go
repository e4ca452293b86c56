// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/answer"
	"dossier.dev/dossier/internal/translog"
)

// Report says what a file proves.
type Report struct {
	Subject  dossier.Digest  `json:"subject"`
	Ref      string          `json:"ref"`
	AsOf     time.Time       `json:"asOf"`
	Log      LogReport       `json:"log"`
	Proven   []Finding       `json:"proven"`
	Claimed  []Finding       `json:"claimed"`
	Faults   []string        `json:"faults"` // why the file proves nothing; none: it does
	Answers  dossier.Answers `json:"answers"`
	Dossier  dossier.Dossier `json:"-"` // judged from the evidence
	Evidence answer.Evidence `json:"-"`
	// Packages are those of each platform whose layers were laid over one another again.
	Packages map[dossier.Digest][]dossier.PackageAt `json:"-"`
	Feeds    []FeedState                            `json:"feeds,omitempty"` // with which packages were compared, as the log claims
}

// LogReport says which state of which log the facts were proven in.
type LogReport struct {
	Origin    string   `json:"origin"`
	Size      int64    `json:"size"`
	Root      string   `json:"root"`
	Witnesses []string `json:"witnesses"` // that are trusted and have signed the checkpoint
	Quorum    int      `json:"quorum"`
}

// Finding is something that holds, and who is to be believed for it.
type Finding struct {
	By   string `json:"by"`
	What string `json:"what"`
}

// Signed says who signed what a fact is about, for instance an attestation, and
// whether that was verified again. It returns nothing for facts that nobody signs.
type Signed func(f dossier.Fact) (Finding, bool, error)

// check is a Check under way.
type check struct {
	file       File
	report     Report
	evidence   answer.Evidence
	checkpoint translog.Checkpoint
	log        TrustedLog
}

// Check checks a file with nothing but itself and the keys that are trusted. What is wrong with
// the file is in the report; an error says that it could not be read.
// signed may be nil.
func Check(f File, trust Trust, signed Signed) (Report, error) {
	c := check{file: f, report: Report{Ref: f.Ref, Proven: []Finding{}, Claimed: []Finding{}, Faults: []string{}}}
	if err := json.Unmarshal(f.Evidence, &c.evidence); err != nil {
		return c.report, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading proof", Subject: "evidence", Err: err}
	}
	c.report.Feeds = f.Feeds
	c.report.Subject, c.report.AsOf, c.report.Evidence = c.evidence.Subject, c.evidence.AsOf, c.evidence
	if !c.signedBy(trust) {
		return c.report, nil
	}
	c.facts()
	c.heads()
	c.bytes()
	if len(c.report.Faults) == 0 { // what nobody vouches for is not unpacked: it may be made to exhaust memory
		c.contents()
	}
	c.judge()
	c.signatures(signed)
	c.claims()
	return c.report, nil
}

func (c *check) fault(format string, args ...any) {
	c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
}

func (c *check) proven(by, format string, args ...any) {
	c.report.Proven = append(c.report.Proven, Finding{by, fmt.Sprintf(format, args...)})
}

func (c *check) claimed(format string, args ...any) {
	c.report.Claimed = append(c.report.Claimed, Finding{c.checkpoint.Origin, fmt.Sprintf(format, args...)})
}

// signedBy checks the checkpoint and the claim. Without them nothing else can be said.
func (c *check) signedBy(trust Trust) bool {
	signed := []byte(c.file.Log.Checkpoint)
	origin, _, _ := strings.Cut(c.file.Log.Checkpoint, "\n")
	logs := trust.of(origin)
	if len(logs) == 0 {
		c.fault("the log %q is not trusted: the trust file names other ones", origin)
		return false
	}
	var err error
	for _, c.log = range logs {
		if c.checkpoint, err = translog.OpenCheckpoint(signed, c.log.Key); err == nil {
			break
		}
	}
	if err != nil {
		c.fault("the checkpoint of the log: %v", err)
		return false
	}
	r := &c.report.Log
	r.Origin, r.Size, r.Root, r.Quorum, r.Witnesses = c.checkpoint.Origin, c.checkpoint.Size, c.checkpoint.Root.String(), c.log.Quorum, []string{}
	times, err := translog.Cosigned(signed, c.log.Witnesses)
	if err != nil {
		c.fault("the witnesses: %v", err)
		return false
	}
	for _, w := range c.log.Witnesses {
		if at, ok := times[w.String()]; ok {
			r.Witnesses = append(r.Witnesses, w.Name())
			c.proven(w.Name(), "the log had %d entries at %s, and no other history", c.checkpoint.Size, at.Format(time.RFC3339))
		}
	}
	if len(r.Witnesses) < c.log.Quorum {
		c.fault("the checkpoint is signed by %d of the witnesses, the trust file wants %d", len(r.Witnesses), c.log.Quorum)
	}
	want, err := c.file.claim(c.checkpoint)
	if err != nil {
		c.fault("the parts of the file: %v", err)
		return false
	}
	n, err := note.Open([]byte(c.file.Claim), note.VerifierList(c.log.Key))
	if err != nil {
		c.fault("the claim is not signed by the log: %v", err)
	} else if n.Text != want {
		c.fault("the claim was signed for another answer, other evidence or another state of the log")
	}
	return true
}

// facts checks that each fact is what it says it is, and in the log.
func (c *check) facts() {
	facts := c.evidence.Facts
	if len(facts) == 0 {
		return
	}
	for _, f := range facts {
		leaf := f.LeafHash()
		if hash, ok := c.file.Log.Erased[f.ID]; ok && len(f.Body) == 0 {
			leaf = f.LeafOf(hash)
			c.claimed("what %s of %s said: it was erased since", f.Kind, f.Subject.Short())
		} else if f.Statement.ID() != f.ID {
			c.fault("fact %s (%s of %s) has another ID than its content", f.ID, f.Kind, f.Subject)
		}
		if leaf != f.Leaf {
			c.fault("fact %s (%s of %s) has another leaf than its content", f.ID, f.Kind, f.Subject)
		}
	}
	if len(c.file.Log.Entries) != len(facts) {
		c.fault("the file says of %d facts where they are in the log, and has %d", len(c.file.Log.Entries), len(facts))
		return
	}
	hashes, err := splitHashes(c.file.Log.Inclusion)
	if err == nil {
		err = translog.CheckInclusions(hashes, c.checkpoint, leaves(facts, c.file.Log.Entries))
	}
	if err != nil {
		c.fault("the facts are not in the log: %v", err)
		return
	}
	c.proven(c.checkpoint.Origin, "%s recorded, unchanged since, and in the log among its first %d entries", count(len(facts), "fact was", "facts were"), c.checkpoint.Size)
}

// heads checks what the map says of each digest.
func (c *check) heads() {
	all := subjects(&c.evidence)
	if len(all) == 0 {
		return
	}
	if c.checkpoint.Map == nil {
		c.claimed("that nothing newer was known: the checkpoint has no map")
		return
	}
	if err := translog.CheckHeads(c.file.Log.Map, *c.checkpoint.Map, all, c.file.Log.Heads); err != nil {
		c.fault("which facts were the newest: %v", err)
		return
	}
	for _, s := range all {
		i := slices.IndexFunc(c.file.Log.Heads, func(h translog.Head) bool { return h.Subject == s })
		if i < 0 {
			c.proven(c.checkpoint.Origin, "nothing was ever recorded about %s", s.Short())
			continue
		}
		c.chain(c.file.Log.Heads[i])
	}
}

// chain says how much of the chain of a subject the file shows.
func (c *check) chain(head translog.Head) {
	shown := map[int64]dossier.Fact{}
	for _, f := range c.evidence.Facts {
		if f.Subject == head.Subject {
			shown[f.Seq] = f
		}
	}
	for seq, f := range shown {
		if before, ok := shown[seq-1]; ok && f.Prev != before.Leaf || seq > head.Seq {
			c.fault("fact %s is number %d about %s and does not fit the others", f.ID, seq, f.Subject)
		}
	}
	if last, ok := shown[head.Seq]; ok && last.Leaf != head.Leaf {
		c.fault("fact %s is not the newest about %s, as it says", last.ID, head.Subject)
	}
	hidden := head.Seq - int64(len(shown))
	if hidden <= 0 {
		c.proven(c.checkpoint.Origin, "all that was recorded about %s by then is here: %s", head.Subject.Short(), count(len(shown), "fact", "facts"))
		return
	}
	c.proven(c.checkpoint.Origin, "by then %s recorded about %s; %d of them are here", count(int(head.Seq), "fact was", "facts were"), head.Subject.Short(), len(shown))
	c.claimed("that the other %d about %s do not bear on the answers: they are superseded, or of kinds that no answer rests on", hidden, head.Subject.Short())
}

// judge judges the evidence again.
func (c *check) judge() {
	c.report.Dossier = answer.Dossier(c.evidence, c.file.Policy)
	c.report.Answers = c.report.Dossier.Answers
	var told dossier.Dossier
	if err := json.Unmarshal(c.file.Dossier, &told); err != nil {
		c.fault("the answer cannot be read: %v", err)
		return
	}
	before := len(c.report.Faults)
	for _, q := range dossier.Questions() {
		said, given := told.Answers.Of(q), c.report.Answers.Of(q)
		switch {
		case equal(said, given):
		case inShort(said) == inShort(given):
			c.fault("the answer to %q does not follow from the evidence: its details, or what it cites", q)
		default:
			c.fault("the answer to %q does not follow from the evidence: it says %s, the evidence gives %s", q, inShort(said), inShort(given))
		}
	}
	told.Answers = c.report.Answers
	if !equal(told, c.report.Dossier) {
		c.fault("platforms, names or places of the answer are not those of the evidence")
	}
	if len(c.report.Faults) == before {
		c.proven("this program", "the five answers follow from the evidence: it was judged again")
	}
}

func inShort(a *dossier.Answer) string {
	return fmt.Sprintf("%s (%s): %q", a.Status, a.Grade, a.Summary)
}

// equal reports whether two values are the same in JSON.
func equal(a, b any) bool {
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return errors.Join(err, err2) == nil && bytes.Equal(one, other)
}

// signatures asks who signed what the facts are about.
func (c *check) signatures(signed Signed) {
	if signed == nil {
		return
	}
	for _, f := range c.evidence.Facts {
		finding, ok, err := signed(f)
		switch {
		case err != nil:
			c.fault("the signature on %s of %s: %v", f.Kind, f.Subject.Short(), err)
		case ok:
			c.report.Proven = append(c.report.Proven, finding)
		}
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
