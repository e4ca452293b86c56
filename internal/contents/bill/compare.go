// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package bill

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
)

// Key is what makes two package URLs mean the same package: without qualifiers,
// without what distributions are called, and in one spelling.
type Key struct{ Type, Name, Version string }

// String is the key as people read it.
func (k Key) String() string {
	s := k.Type + " " + k.Name
	if k.Version != "" {
		s += " " + k.Version
	}
	return s
}

// KeyOf returns the key of a package URL, false when it is none.
func KeyOf(purl string) (Key, bool) {
	u, err := packageurl.FromString(purl)
	if err != nil || u.Name == "" {
		return Key{}, false
	}
	k := Key{u.Type, u.Name, u.Version}
	switch u.Type {
	case "deb", "apk", "rpm", "alpm":
		if epoch := u.Qualifiers.Map()["epoch"]; epoch != "" && epoch != "0" && !strings.Contains(k.Version, ":") {
			k.Version = epoch + ":" + k.Version
		}
		k.Version = strings.TrimPrefix(k.Version, "0:")
	case "pypi":
		k.Name = strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(k.Name))
	case "golang":
		k.Name = join(u.Namespace, k.Name)
		k.Version = strings.TrimPrefix(strings.TrimPrefix(k.Version, "v"), "go")
	default:
		k.Name = join(u.Namespace, k.Name)
	}
	return k, true
}

func join(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// Difference is how a bill differs from what was observed.
type Difference struct {
	Agree     int      // packages that both have
	Missing   []Key    // observed, and not in the bill
	Extra     []Key    // in the bill, and not observed
	Otherwise [][2]Key // in both, in another version: as observed, as the bill says
}

// Compare compares a bill with the package URLs that were observed.
func Compare(b Bill, observed []string) Difference {
	here, there := map[Key]bool{}, map[Key]bool{}
	for _, purl := range observed {
		if k, ok := KeyOf(purl); ok {
			here[k] = true
		}
	}
	for _, p := range b.Packages {
		there[p.Key] = true
	}
	var d Difference
	missing, extra := map[Key][]Key{}, map[Key][]Key{} // by the key without version
	for _, k := range sorted(here) {
		if there[k] {
			d.Agree++
		} else {
			missing[unversioned(k)] = append(missing[unversioned(k)], k)
		}
	}
	for _, k := range sorted(there) {
		if !here[k] {
			extra[unversioned(k)] = append(extra[unversioned(k)], k)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(missing), compareKeys) {
		ours, theirs := missing[name], extra[name]
		n := min(len(ours), len(theirs))
		for i := range n {
			d.Otherwise = append(d.Otherwise, [2]Key{ours[i], theirs[i]})
		}
		d.Missing = append(d.Missing, ours[n:]...)
		extra[name] = theirs[n:]
	}
	for _, name := range slices.SortedFunc(maps.Keys(extra), compareKeys) {
		d.Extra = append(d.Extra, extra[name]...)
	}
	return d
}

func unversioned(k Key) Key { return Key{k.Type, k.Name, ""} }

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}

func sorted(set map[Key]bool) []Key { return slices.SortedFunc(maps.Keys(set), compareKeys) }
