// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Notifications says who is told what changes (docs/spec/notifications.md).
type Notifications struct {
	// URL is where people and programs reach this server; links in events begin
	// with it. Empty: they are paths.
	URL     string         `yaml:"url"`
	Gather  time.Duration  `yaml:"gather"` // for which changes are gathered before they are told; 0: 10s
	Targets []NotifyTarget `yaml:"targets"`
}

// NotifyTarget is a receiver of events.
type NotifyTarget struct {
	Name   string        `yaml:"name"`   // unique
	URL    string        `yaml:"url"`    // that events are posted to
	Secret string        `yaml:"secret"` // file of keys that sign, one a line
	CA     string        `yaml:"ca"`     // file with certificates to trust; empty: the system's
	Plain  bool          `yaml:"plain"`  // http beyond loopback is allowed
	GiveUp time.Duration `yaml:"giveUp"` // after which an event is tried no more; 0: 72h
	Filter NotifyFilter  `yaml:"filter"`
}

// NotifyFilter selects what a target is told. What is empty lets everything through.
type NotifyFilter struct {
	Kinds      []string `yaml:"kinds"`      // new, gone, started
	Severity   string   `yaml:"severity"`   // at least so bad
	Fixable    bool     `yaml:"fixable"`    // only what has a fix
	Exploited  bool     `yaml:"exploited"`  // only what is known to be exploited
	Namespaces []string `yaml:"namespaces"` // patterns (path.Match)
}
