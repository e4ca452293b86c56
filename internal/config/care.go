// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Care says how the registry cares for its bytes (docs/spec/care.md). Zero is
// the default of each.
type Care struct {
	Off       bool          `yaml:"off"`       // collect nothing
	Lease     time.Duration `yaml:"lease"`     // for which what a client was told of stays
	Delay     time.Duration `yaml:"delay"`     // from when bytes are condemned until they are deleted
	Every     time.Duration `yaml:"every"`     // between two looks for what has come to be garbage
	Reconcile time.Duration `yaml:"reconcile"` // between two looks at everything
	// ListAge is how old the list of a cluster may be. What a cluster may need is
	// not taken away when it is older.
	ListAge time.Duration `yaml:"listAge"`
	// PartialCluster lets things go although only some namespaces or pods are followed.
	PartialCluster bool `yaml:"partialCluster"`
	// ForgetClusters are names or IDs of clusters that are no more.
	ForgetClusters []string    `yaml:"forgetClusters"`
	Retention      []Retention `yaml:"retention"`
	// Mirrors says how much is kept of what was pulled through from an upstream, by
	// its name. What was pulled longest ago goes first.
	Mirrors map[string]Size `yaml:"mirrors"`
	Scrub   Scrub           `yaml:"scrub"`
}

// Scrub says how stored bytes are compared with their digests.
type Scrub struct {
	Off  bool          `yaml:"off"`  // compare nothing
	Rate Size          `yaml:"rate"` // bytes a second that are read for it, by all servers together
	Age  time.Duration `yaml:"age"`  // how old the last check of a blob may be
}

// Retention is a rule that lets things go. Of the rules that fit, the first decides.
type Retention struct {
	Name         string   `yaml:"name"`         // empty: "rule N"
	Repositories []string `yaml:"repositories"` // patterns, as in access rules
	// Tags says which tags go; nil: none do by this rule.
	Tags *TagRetention `yaml:"tags"`
	// Untagged is after what time without a tag a manifest goes that nothing needs;
	// nil: none does by this rule.
	Untagged *time.Duration `yaml:"untagged"`
}

// TagRetention says which tags go: those that match, but for those that one of
// the other fields keeps, of which there must be one.
type TagRetention struct {
	Match       []string      `yaml:"match"`       // patterns (path.Match); none: all
	KeepLast    int           `yaml:"keepLast"`    // so many, those that were pushed last
	KeepYounger time.Duration `yaml:"keepYounger"` // those that were pushed within it
	KeepPulled  time.Duration `yaml:"keepPulled"`  // those whose image was pulled within it
}

// Quota is how much the repositories at or below a path may hold together.
type Quota struct {
	Prefix string `yaml:"prefix"` // path of a repository, or above some
	Bytes  Size   `yaml:"bytes"`
}
