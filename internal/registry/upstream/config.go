// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// Config is one registry to pull through. Name is required.
type Config struct {
	// Name is what references call it: HOST or HOST:PORT.
	Name string
	// URL is where it is asked: http or https, a host, and the path of what is
	// before its repositories if there is any. Empty: https and the name; for
	// docker.io the address that Docker has for it.
	URL string
	// Realm is the token service that credentials may be sent to besides the
	// registry itself: HOST or HOST:PORT. Empty: none; for docker.io Docker's.
	Realm string
	// Credentials is a file in the form of Docker's configuration with an
	// account (image.CredentialFile). Empty: nobody in particular.
	Credentials string
	// Fresh is how long it counts where a tag was seen to point; 0: DefaultFresh.
	Fresh time.Duration
}

// DefaultFresh is how long it counts where a tag was seen to point, unless a
// Config says otherwise.
const DefaultFresh = time.Minute

// What Docker calls its registry, and where it is.
const (
	dockerHost  = "registry-1.docker.io"
	dockerRealm = "auth.docker.io"
)

// Parse reads a Config as it is written in one word: NAME or NAME=URL.
// KindInvalid; see also Validate.
func Parse(s string) (Config, error) {
	name, address, ok := strings.Cut(s, "=")
	c := Config{Name: name, URL: address}
	if ok && address == "" {
		return Config{}, invalid(s, "no URL follows the =")
	}
	return c, c.Validate()
}

func invalid(subject, why string) error {
	return &dossier.Error{Kind: dossier.KindInvalid, Op: "configuring upstream", Subject: subject, Err: errors.New(why),
		Hint: "Write NAME or NAME=URL, such as docker.io or registry.example.com=https://mirror.example.com."}
}

// Validate returns all faults as one KindInvalid error.
func (c Config) Validate() error {
	_, err := c.place()
	faults := []error{err}
	if ref, err := dossier.ParseReference(c.Name + "/a/a"); err != nil || ref.Registry != c.Name || c.Name != strings.ToLower(c.Name) {
		faults = append(faults, invalid(c.Name, "the name is not HOST or HOST:PORT in lower case"))
	} else if ref, err := dossier.ParseReference("x.example/" + c.Prefix() + "/a"); err != nil || ref.Registry != "x.example" {
		faults = append(faults, invalid(c.Name, "no repository can begin with that name"))
	}
	if u, err := url.Parse("https://" + c.Realm); c.Realm != "" && (err != nil || u.Host != c.Realm || u.Hostname() == "") {
		faults = append(faults, invalid(c.Name, fmt.Sprintf("the realm %q is not HOST or HOST:PORT", c.Realm)))
	}
	if c.Fresh < 0 {
		faults = append(faults, invalid(c.Name, fmt.Sprintf("what is seen would be fresh for %v", c.Fresh)))
	}
	return errors.Join(faults...)
}

// place is where an upstream is asked.
type place struct {
	host  string
	path  string // of what is before its repositories, with a slash at its end; may be empty
	plain bool   // without TLS
}

// String returns the place as a URL.
func (p place) String() string {
	scheme := "https"
	if p.plain {
		scheme = "http"
	}
	return scheme + "://" + strings.TrimSuffix(p.host+"/"+p.path, "/")
}

// place reads the URL.
func (c Config) place() (place, error) {
	address := c.URL
	if address == "" {
		address = "https://" + c.Name
		if c.Name == dossier.DefaultRegistry {
			address = "https://" + dockerHost
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return place{}, invalid(c.Name, "its URL is malformed") // it may hold a password
	}
	path := strings.Trim(u.Path, "/")
	switch {
	case u.User != nil:
		return place{}, invalid(c.Name, "its URL holds a user; accounts stand in a file of credentials")
	case u.Scheme != "https" && u.Scheme != "http":
		return place{}, invalid(c.Name, "its URL begins with neither https:// nor http://")
	case u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return place{}, invalid(c.Name, "its URL is not a host and a path")
	case c.Credentials != "" && u.Scheme == "http" && !isLoopback(u.Hostname()):
		return place{}, invalid(c.Name, "its credentials would be sent without TLS")
	}
	if ref, err := dossier.ParseReference("x.example/" + path + "/a"); path != "" && (err != nil || ref.Repository != path+"/a") {
		return place{}, invalid(c.Name, "no repository can begin with the path of its URL")
	}
	if path != "" {
		path += "/"
	}
	return place{host: strings.ToLower(u.Host), path: path, plain: u.Scheme == "http"}, nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// realms are the token services that credentials may be sent to.
func (c Config) realms(host string) []string {
	realm := c.Realm
	if realm == "" && host == dockerHost {
		realm = dockerRealm
	}
	if realm == "" {
		return []string{}
	}
	if host, port, err := net.SplitHostPort(realm); err == nil && port == "443" {
		realm = host // as it is compared
	}
	return []string{realm}
}

// logins are the names under which Docker's configuration keeps an account.
func (c Config) logins(host string) []string {
	names := []string{c.Name}
	if c.Name == dossier.DefaultRegistry {
		names = append(names, "https://index.docker.io/v1/", "index.docker.io")
	}
	return append(names, "https://"+c.Name, host, "https://"+host)
}

// Prefix is what the paths of its repositories begin with here: its name, with
// an underscore for the colon of a port.
func (c Config) Prefix() string { return strings.Replace(c.Name, ":", "_", 1) }

// fresh is Fresh or its default.
func (c Config) fresh() time.Duration { return cmp.Or(c.Fresh, DefaultFresh) }
