// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/store"
)

const (
	toldColumns = `SELECT cluster, namespace, kind, name, digest, at, body FROM told `
	toldOrder   = ` ORDER BY cluster, namespace, kind, name, digest`

	toldOfDigests = toldColumns + `WHERE digest IN (SELECT key FROM json_each($1))` + toldOrder

	toldOfNamespace = toldColumns + `WHERE cluster = $1 AND namespace = $2` + toldOrder

	toldNamespaces = `SELECT DISTINCT cluster, namespace FROM told ORDER BY cluster, namespace`

	putTold = `
INSERT INTO told (cluster, namespace, kind, name, digest, at, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (cluster, namespace, kind, name, digest) DO UPDATE SET body = excluded.body`

	dropTold = `DELETE FROM told WHERE cluster = $1 AND namespace = $2 AND kind = $3 AND name = $4 AND digest = $5`

	telling = `SELECT id FROM telling WHERE id = 1`

	beginTelling = `INSERT INTO telling (id) VALUES (1) ON CONFLICT (id) DO NOTHING`

	endTelling = `DELETE FROM telling WHERE id = 1`

	waitingDeliveries = `
SELECT id, target, event, body, at, run_at, attempts, last_error, parked FROM delivery
WHERE target = $1 AND parked = 0 AND run_at <= $2 ORDER BY id LIMIT $3`

	nextDelivery = `
SELECT run_at FROM delivery WHERE target = $1 AND parked = 0 ORDER BY run_at LIMIT 1`

	countDeliveries = `
SELECT target, parked, COUNT(*), MIN(at) FROM delivery GROUP BY target, parked ORDER BY target, parked`

	addDelivery = `
INSERT INTO delivery (target, event, body, at, run_at, attempts, last_error, parked) VALUES ($1, $2, $3, $4, $5, 0, '', 0)
ON CONFLICT (target, event) DO NOTHING`

	putDelivery = `UPDATE delivery SET run_at = $2, attempts = $3, last_error = $4, parked = $5 WHERE id = $1`

	dropDelivery = `DELETE FROM delivery WHERE id = $1`

	dropParked = `DELETE FROM delivery WHERE parked = 1 AND at < $1`
)

// Told implements [store.ToldReader].
func (r reader) Told(ctx context.Context, q store.ToldQuery) ([]store.Told, error) {
	const op = "reading what was told"
	scan := func(row scanner, t *store.Told) error {
		var at int64
		err := row.Scan(&t.Cluster, &t.Namespace, &t.Kind, &t.Name, &t.Digest, &at, &t.Body)
		t.At = instant(at)
		return err
	}
	if len(q.Digests) == 0 {
		return all(ctx, r.session, op, scan, toldOfNamespace, q.Cluster, q.Namespace)
	}
	list, err := keys(q.Digests)
	if err != nil {
		return nil, err
	}
	return all(ctx, r.session, op, scan, toldOfDigests, list)
}

// ToldNamespaces implements [store.ToldReader].
func (r reader) ToldNamespaces(ctx context.Context) ([]dossier.Workload, error) {
	return all(ctx, r.session, "reading of whom something was told", func(row scanner, w *dossier.Workload) error {
		return row.Scan(&w.Cluster, &w.Namespace)
	}, toldNamespaces)
}

// Telling implements [store.ToldReader].
func (r reader) Telling(ctx context.Context) (bool, error) {
	_, on, err := one(ctx, r.session, "reading whether somebody is told", scanOne[int64], telling)
	return on, err
}

// PutTelling implements [store.ToldWriter].
func (t *tx) PutTelling(ctx context.Context, on bool) error {
	query := endTelling
	if on {
		query = beginTelling
	}
	_, err := t.exec(ctx, "keeping whether somebody is told", query)
	return err
}

// PutTold implements [store.ToldWriter].
func (t *tx) PutTold(ctx context.Context, told store.Told) error {
	_, err := t.exec(ctx, "keeping what was told", putTold, told.Cluster, told.Namespace, told.Kind, told.Name, told.Digest, micros(told.At), told.Body)
	return err
}

// DropTold implements [store.ToldWriter].
func (t *tx) DropTold(ctx context.Context, w dossier.Workload, d dossier.Digest) error {
	_, err := t.exec(ctx, "dropping what was told", dropTold, w.Cluster, w.Namespace, w.Kind, w.Name, d)
	return err
}

// Deliveries implements [store.DeliveryReader].
func (r reader) Deliveries(ctx context.Context, target string, at time.Time, limit int) ([]store.Delivery, error) {
	return all(ctx, r.session, "reading deliveries", func(row scanner, d *store.Delivery) error {
		var made, runAt int64
		var parked int
		err := row.Scan(&d.ID, &d.Target, &d.Event, &d.Body, &made, &runAt, &d.Attempts, &d.LastError, &parked)
		d.At, d.RunAt, d.Parked = instant(made), instant(runAt), parked != 0
		return err
	}, waitingDeliveries, target, micros(at), max(0, limit))
}

// NextDelivery implements [store.DeliveryReader].
func (r reader) NextDelivery(ctx context.Context, target string) (time.Time, error) {
	at, ok, err := one(ctx, r.session, "reading deliveries", scanOne[int64], nextDelivery, target)
	if err != nil || !ok {
		return time.Time{}, err
	}
	return instant(at), nil
}

// CountDeliveries implements [store.DeliveryReader].
func (r reader) CountDeliveries(ctx context.Context) ([]store.DeliveryCount, error) {
	return all(ctx, r.session, "counting deliveries", func(row scanner, c *store.DeliveryCount) error {
		var oldest int64
		var parked int
		err := row.Scan(&c.Target, &parked, &c.N, &oldest)
		c.Parked, c.Oldest = parked != 0, instant(oldest)
		return err
	}, countDeliveries)
}

// AddDelivery implements [store.DeliveryWriter].
func (t *tx) AddDelivery(ctx context.Context, d store.Delivery) error {
	_, err := t.exec(ctx, "adding delivery", addDelivery, d.Target, d.Event, d.Body, micros(d.At), micros(d.RunAt))
	return err
}

// PutDelivery implements [store.DeliveryWriter].
func (t *tx) PutDelivery(ctx context.Context, d store.Delivery) error {
	parked := 0
	if d.Parked {
		parked = 1
	}
	_, err := t.exec(ctx, "keeping delivery", putDelivery, d.ID, micros(d.RunAt), d.Attempts, d.LastError, parked)
	return err
}

// DropDelivery implements [store.DeliveryWriter].
func (t *tx) DropDelivery(ctx context.Context, id int64) error {
	_, err := t.exec(ctx, "dropping delivery", dropDelivery, id)
	return err
}

// DropParked implements [store.DeliveryWriter].
func (t *tx) DropParked(ctx context.Context, before time.Time) (int, error) {
	n, err := t.exec(ctx, "dropping deliveries that were parked", dropParked, micros(before))
	return int(n), err
}
