// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier/internal/cluster"
	"dossier.dev/dossier/internal/ingest"
	"dossier.dev/dossier/internal/store/sqlstore"
	"dossier.dev/dossier/internal/testimage"
)

// projections are the rows that are made from facts, without their numbers.
func projections() map[string]string {
	return map[string]string{
		"retraction":  `SELECT * FROM retraction`,
		"image":       `SELECT * FROM image`,
		"edge":        `SELECT * FROM edge`,
		"name":        `SELECT * FROM name`,
		"term":        `SELECT * FROM term`,
		"layer_read":  `SELECT digest, serial FROM layer_read`,
		"image_read":  `SELECT manifest, serial FROM image_read`,
		"image_set":   `SELECT i.manifest, i.position, s.digest FROM image_set AS i JOIN package_set AS s ON s.id = i.package_set`,
		"package_set": `SELECT s.digest, s.layer, s.whole, p.digest, m.path FROM package_set AS s JOIN package_member AS m ON m.package_set = s.id JOIN package AS p ON p.id = m.package`,
		"package":     `SELECT p.digest, p.ecosystem, p.name, p.body, t.term FROM package AS p JOIN package_term AS t ON t.package = p.id`,
	}
}

// damaged is a store whose rows an operator can change, behind its back.
type damaged struct {
	*world
	db *sql.DB
}

func newDamaged(t *testing.T) *damaged {
	w := newWorld(t, func(c *ingest.Config) { c.Layer = readLayers(t, nil) }, testimage.RegistryOptions{})
	var snapshot cluster.Snapshot
	for i := range 3 {
		name := fmt.Sprint("app", i)
		d := w.push(name, "1", onDebian(name))
		snapshot.Places = append(snapshot.Places, w.pod("a", name+"-1", name+":1", d))
	}
	index := w.push("many", "1", testimage.Index{Entries: []testimage.Entry{
		{Of: testimage.Of(onDebian("amd")), Platform: "linux/amd64"}, {Of: testimage.Of(onDebian("arm")), Platform: "linux/arm64"},
	}})
	snapshot.Places = append(snapshot.Places, w.pod("a", "many-1", "many:1", index))
	w.apply(snapshot)
	w.drain()
	db, err := sql.Open("sqlite", "file:"+w.path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return &damaged{w, db}
}

// dump returns all rows of the projections, in order.
func dump(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for table, query := range projections() {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			var line []string
			for _, v := range values {
				line = append(line, fmt.Sprint(*v.(*any)))
			}
			all[table] = append(all[table], strings.Join(line, " "))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all[table])
	}
	return all
}

func (w *damaged) rebuild() (list []string) {
	w.t.Helper()
	_, err := w.ingest.Rebuild(w.t.Context(), func(m ingest.Mended) error {
		list = append(list, m.What)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// damages are what an operator, or a bug, could do to the rows of projections.
func damages() map[string][]string {
	return map[string][]string{
		"a retraction made up":   {`INSERT INTO retraction (fact, by, recorded_at) SELECT min(position), max(position), 5 FROM fact GROUP BY subject HAVING count(*) > 1`},
		"images lost":            {`DELETE FROM image`},
		"images changed":         {`UPDATE image SET platform = 'linux/s390x', size = 1`},
		"images of another kind": {`UPDATE image SET kind = 'artifact', media_type = 'text/plain'`},
		"an image made up":       {`INSERT INTO image VALUES ('sha256:00', 'manifest', 'x', 1, '')`, `INSERT INTO name VALUES ('sha256:00', 'evil', 1)`},
		"edges lost":             {`DELETE FROM edge`},
		"images and edges lost":  {`DELETE FROM edge`, `DELETE FROM image`},
		"edges turned":           {`UPDATE edge SET position = position + 1`},
		"names lost":             {`DELETE FROM name`},
		"names made up":          {`INSERT INTO name SELECT digest, 'evil.example/app', 5 FROM image`},
		"terms lost":             {`DELETE FROM term`},
		"terms changed":          {`UPDATE term SET value = 'evil'`},
		"layers unread":          {`DELETE FROM layer_read`},
		"images unread":          {`DELETE FROM image_read`},
		"sets swapped":           {`UPDATE image_set SET package_set = (SELECT min(id) FROM package_set)`},
		"sets lost":              {`DELETE FROM image_set`, `DELETE FROM package_member`, `DELETE FROM package_set`},
		"members lost":           {`DELETE FROM package_member`},
		"packages changed":       {`UPDATE package SET body = replace(body, '1.0.0', '9.9.9'), name = 'x'`},
		"package terms lost":     {`DELETE FROM package_term`},
		"packages lost":          {`DELETE FROM package_member`, `DELETE FROM package_term`, `DELETE FROM package_match`, `DELETE FROM package_key`, `DELETE FROM package`},
		"all lost": {`DELETE FROM image_set`, `DELETE FROM image_read`, `DELETE FROM layer_read`, `DELETE FROM package_member`, `DELETE FROM package_set`,
			`DELETE FROM term`, `DELETE FROM name`, `DELETE FROM edge`, `DELETE FROM image`},
	}
}

// TestRebuild damages rows that are made from facts, and makes them again: all of them
// are what they were.
func TestRebuild(t *testing.T) {
	w := newDamaged(t)
	if list := w.rebuild(); len(list) > 0 {
		t.Fatalf("of a store that nobody damaged it mended: %q", list)
	}
	rows := dump(t, w.db)
	for name, statements := range damages() {
		t.Run(name, func(t *testing.T) {
			for _, s := range statements {
				if _, err := w.db.ExecContext(t.Context(), s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
			if cmp.Equal(rows, dump(t, w.db)) {
				t.Fatal("nothing was damaged")
			}
			if list := w.rebuild(); len(list) == 0 {
				t.Error("it says that it mended nothing")
			}
			if diff := cmp.Diff(rows, dump(t, w.db)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if list := w.rebuild(); len(list) > 0 {
				t.Errorf("the second time it mended: %q", list)
			}
		})
	}
}

// rebuildingProcess rebuilds, and says what it mends.
func rebuildingProcess(path string) (err error) {
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = ingest.New(ingest.Config{Store: db}).Rebuild(ctx, func(m ingest.Mended) error {
		_, err := fmt.Println(m.What)
		return err
	})
	return err
}

// TestRebuildKilled kills the process that rebuilds, each time after it mended some more.
func TestRebuildKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes; left out by -short")
	}
	w := newDamaged(t)
	rows := dump(t, w.db)
	for _, s := range damages()["all lost"] {
		if _, err := w.db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 0
	for ended := false; !ended; {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), envRebuild+"="+w.path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 8 { // it goes on while it is being killed
				_ = cmd.Process.Kill()
				kills++
				break
			}
		}
		ended = cmd.Wait() == nil
	}
	if kills < 3 {
		t.Errorf("it was killed %d times only", kills)
	}
	if diff := cmp.Diff(rows, dump(t, w.db)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
