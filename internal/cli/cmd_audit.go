// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
)

// auditFlags are the flags of audit.
type auditFlags struct {
	who, pod, address, action string
	since, until              string
	denied                    bool
	limit                     int
}

func (p *program) auditCommand() *cobra.Command {
	var out outputFlags
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit [REPOSITORY[:TAG|@DIGEST] | DIGEST]",
		Short: "Who pushed, pulled, moved and deleted what in the registry, and what was refused",
		Long: `Show what was done in the registry of this store or server, newest first: who did
what to which repository, digest or tag, when, from where and with what client. A
repository is named with or without the name of the registry.

Pushes, mounts, tag moves and deletions are facts and stay. Pulls and refusals are kept
as long as dossier serve --audit-keep says; what is pulled shows within a second.`,
		Example: `  dossier audit team/web/app
  dossier audit team/web/app:latest --action tag
  dossier audit sha256:4f5d2c... --action pull --since 7d
  dossier audit --who ci/builder --since 2026-01-31
  dossier audit --denied --from 10.1.2.3`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes at most one REPOSITORY or DIGEST, got %d arguments", cmd.CommandPath(), len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.audit(cmd.Context(), strings.Join(args, ""), f, out)
		},
	}
	out.register(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.who, "who", "", "only of this `caller`: a user, NAMESPACE/NAME of a service account, token or anonymous")
	flags.StringVar(&f.pod, "pod", "", "only of this `pod`, NAMESPACE/NAME")
	flags.StringVar(&f.address, "from", "", "only from this `address`")
	flags.StringVar(&f.action, "action", "", "only this `action`: "+strings.Join(actionNames(), ", "))
	flags.BoolVar(&f.denied, "denied", false, "only what was refused")
	flags.StringVar(&f.since, "since", "", "only since this `time` (RFC 3339, a date, or an age such as 90m, 24h, 7d)")
	flags.StringVar(&f.until, "until", "", "only before this `time`")
	flags.IntVar(&f.limit, "limit", dossier.DefaultAuditPage, "at most this `number` of entries")
	return cmd
}

func actionNames() []string {
	var names []string
	for _, a := range dossier.AuditActions() {
		names = append(names, string(a))
	}
	return names
}

// query reads what is asked for.
func (f auditFlags) query(subject string, now time.Time) (dossier.AuditQuery, error) {
	q := dossier.AuditQuery{
		Who: f.who, Pod: f.pod, Address: f.address, Action: dossier.AuditAction(f.action), Denied: f.denied,
	}
	if f.limit < 1 {
		return q, usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", fmt.Sprintf("--limit=%d", f.limit), "want 1 or more")}
	}
	if q.Action != "" && !slices.Contains(dossier.AuditActions(), q.Action) {
		return q, usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", "--action="+f.action, "want "+strings.Join(actionNames(), ", "))}
	}
	var err error
	if q.Since, err = parseMoment("--since", f.since, now); err != nil {
		return q, err
	}
	if q.Until, err = parseMoment("--until", f.until, now); err != nil {
		return q, err
	}
	return q, auditSubject(subject, &q)
}

// auditSubject reads REPOSITORY[:TAG|@DIGEST] or DIGEST.
func auditSubject(s string, q *dossier.AuditQuery) error {
	if d, err := dossier.ParseDigest(s); err == nil {
		q.Digest = d
		return nil
	}
	name, digest, hasDigest := strings.Cut(s, "@")
	q.Repository = name
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		q.Repository, q.Tag = name[:i], name[i+1:]
	}
	if hasDigest {
		d, err := dossier.ParseDigest(digest)
		if err != nil {
			return usageError{err}
		}
		q.Digest = d
	}
	if s != "" && q.Repository == "" {
		return usageError{dossier.Errorf(dossier.KindInvalid, "reading what to show", s, "want REPOSITORY, REPOSITORY:TAG, REPOSITORY@DIGEST or DIGEST")}
	}
	return nil
}

// parseMoment reads a time, or how long ago it was.
func parseMoment(flag, s string, now time.Time) (time.Time, error) {
	if age, err := dossier.ParseAge(s); err == nil {
		return dossier.Instant(now.Add(-age)), nil
	}
	t, err := parseTime(flag, s)
	if err != nil {
		return t, usageError{dossier.Errorf(dossier.KindInvalid, "reading flag", flag+"="+s,
			"want a time such as 2026-01-31T12:00:00Z, a date, or an age such as 24h or 7d")}
	}
	return t, nil
}

func (p *program) audit(ctx context.Context, subject string, f auditFlags, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	q, err := f.query(subject, time.Now())
	if err != nil {
		return err
	}
	return p.askStored(ctx, func(a Answerer) error {
		list, err := auditPages(ctx, a, q, f.limit)
		if err != nil {
			return err
		}
		return out.write(p, list, func(o render.Options) error {
			if len(list.Entries) == 0 {
				fmt.Fprintln(p.stderr, "nothing is on record")
				return nil
			}
			if list.Next != "" {
				p.note("there is more: raise --limit, or go back with --until, to see it")
			}
			return render.Audit(p.stdout, list, o)
		})
	})
}

// auditPages reads as many pages as it takes.
func auditPages(ctx context.Context, a Answerer, q dossier.AuditQuery, limit int) (dossier.AuditList, error) {
	list := dossier.AuditList{Entries: []dossier.AuditEntry{}}
	for {
		q.Limit = min(limit-len(list.Entries), dossier.MaxAuditPage)
		page, err := a.Audit(ctx, q)
		if err != nil {
			return list, err
		}
		list.Entries, list.Next = append(list.Entries, page.Entries...), page.Next
		if page.Next == "" || page.Next == q.Before || len(list.Entries) >= limit {
			return list, nil
		}
		q.Before = page.Next
	}
}
