// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package translog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"dossier.dev/dossier/internal/store"
)

// entriesLevel stands for the bundles of entries, which go by the paths of tiles.
const entriesLevel = -1

// maxLevel is the highest level of tiles that the format has.
const maxLevel = 63

// tilePath is the path of a tile or bundle below the prefix of the log, and how many hashes or
// entries of it are asked for.
type tilePath struct {
	store.TileAt
	width int64
}

var errPath = errors.New("it is no path of a tile")

// parseTilePath reads a path such as tile/0/x001/234, tile/entries/567.p/8
// (C2SP tlog-tiles, "Parameters"). Each tile has one path.
func parseTilePath(path string) (tilePath, error) {
	p := tilePath{width: tileWidth}
	path, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return p, errPath
	}
	level, path, ok := strings.Cut(path, "/")
	if !ok {
		return p, errPath
	}
	if p.Level = entriesLevel; level != "entries" {
		n, err := decimal(level)
		if err != nil || n > maxLevel {
			return p, errPath
		}
		p.Level = n
	}
	if number, width, partial := strings.Cut(path, ".p/"); partial {
		n, err := decimal(width)
		if err != nil || n < 1 || n >= tileWidth {
			return p, errPath
		}
		p.width, path = n, number
	}
	parts := strings.Split(path, "/")
	if len(parts) > 6 { // of three digits each: what an int64 holds
		return p, errPath
	}
	for i, part := range parts {
		digits, more := strings.CutPrefix(part, "x")
		if len(digits) != 3 || more == (i == len(parts)-1) || strings.Trim(digits, "0123456789") != "" {
			return p, errPath
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return p, err
		}
		p.Index = p.Index*1000 + n
	}
	if p.String() != "tile/"+level+"/"+path+suffix(p.width) {
		return p, errPath
	}
	return p, nil
}

// decimal reads a number that is written as short as can be.
func decimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errPath
	}
	return n, nil
}

func suffix(width int64) string {
	if width == tileWidth {
		return ""
	}
	return fmt.Sprintf(".p/%d", width)
}

// String returns the path.
func (p tilePath) String() string {
	number := fmt.Sprintf("%03d", p.Index%1000)
	for n := p.Index / 1000; n > 0; n /= 1000 {
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	level := strconv.FormatInt(p.Level, 10)
	if p.Level == entriesLevel {
		level = "entries"
	}
	return "tile/" + level + "/" + number + suffix(p.width)
}
