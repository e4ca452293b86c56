// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/config"
)

// Target is who gets events.
type Target struct {
	config config.NotifyTarget
	client *http.Client
}

// Limits of a target.
const (
	defaultGiveUp  = 72 * time.Hour
	requestTimeout = 15 * time.Second // from the first byte sent to the last one read
	maxReply       = 64 << 10         // bytes of an answer that are read
	maxSmallFile   = 1 << 20          // bytes of a file of keys or certificates
)

// Check finds faults in a configuration, without opening a file.
func Check(c config.Notifications, offline bool, fault func(subject, why, hint string)) {
	seen := map[string]bool{}
	if c.Gather < 0 || c.Gather > 10*time.Minute {
		fault("notifications.gather", "it is below 0 or above 10m", "write a time such as 10s")
	}
	if offline && len(c.Targets) > 0 {
		fault("notifications.targets", "they lie on the network, which offline forbids", "leave one of them out")
	}
	for i, t := range c.Targets {
		at := fmt.Sprintf("notifications.targets[%d]", i)
		if t.Name == "" || seen[t.Name] {
			fault(at+".name", "it is empty, or another target has it", "give each target a name of its own")
		}
		seen[t.Name] = true
		u, err := url.Parse(t.URL)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "":
			fault(at+".url", "it is no address to post to", "write a URL such as https://hooks.example.org/dossier, without user and password")
		case u.Scheme == "http" && !t.Plain && !isLoopback(u.Hostname()):
			fault(at+".url", "without TLS everybody on the way can read it", "write https://, or set plain: true")
		}
		if t.Secret == "" {
			fault(at+".secret", "nothing signs what is sent", "name a file with a key: openssl rand -base64 32 makes one")
		}
		if t.GiveUp < 0 {
			fault(at+".giveUp", "it is negative", "write a time such as 72h")
		}
		checkFilter(at+".filter", t.Filter, fault)
	}
}

func checkFilter(at string, f config.NotifyFilter, fault func(subject, why, hint string)) {
	for _, k := range f.Kinds {
		if !slices.Contains([]string{"new", "gone", "started"}, k) {
			fault(at+".kinds", fmt.Sprintf("%q is no kind of event", k), "write new, gone or started")
		}
	}
	if f.Severity != "" && f.Severity != string(dossier.SeverityUnknown) && dossier.Severity(f.Severity).Rank() == 0 {
		fault(at+".severity", fmt.Sprintf("%q is no severity", f.Severity), "write critical, high, medium, low, negligible or unknown")
	}
	for _, n := range f.Namespaces {
		if _, err := path.Match(n, ""); err != nil {
			fault(at+".namespaces", fmt.Sprintf("%q is no pattern", n), "write a name, or a pattern such as prod-*")
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NewTarget reads the files of a target. KindNotFound, KindStorage, KindInvalid.
func NewTarget(c config.NotifyTarget) (*Target, error) {
	t := &Target{config: c}
	if _, err := t.keys(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.MaxResponseHeaderBytes = maxReply
	transport.MaxIdleConnsPerHost = 1
	if c.CA != "" {
		pem, err := readFile(c.CA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, dossier.Errorf(dossier.KindInvalid, "reading CA certificates", c.CA, "it holds no certificate in PEM form")
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	t.client = &http.Client{
		Transport: transport, Timeout: requestTimeout,
		// Where events go is for the configuration to say, and no answer changes it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

// keys reads the keys that sign, which may change while the server runs.
func (t *Target) keys() ([][]byte, error) {
	b, err := readFile(t.config.Secret)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(b)
	if err != nil {
		return nil, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading keys", Subject: t.config.Secret, Err: err, Hint: "openssl rand -base64 32 makes one"}
	}
	return keys, nil
}

func readFile(file string) ([]byte, error) {
	fail := func(kind dossier.Kind, err error) ([]byte, error) {
		return nil, &dossier.Error{Kind: kind, Op: "reading", Subject: file, Err: err}
	}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return fail(dossier.KindNotFound, errors.New("there is no such file"))
	}
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if err != nil {
		return fail(dossier.KindStorage, err)
	}
	if len(b) > maxSmallFile {
		return fail(dossier.KindLimit, fmt.Errorf("it has more than %d bytes", maxSmallFile))
	}
	return b, nil
}

// lets returns the findings of an event that a target wants to hear of; none: it
// does not want the event.
func (t *Target) lets(e *change) []Finding {
	f := t.config.Filter
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, kinds()[e.kind]) {
		return nil
	}
	if len(f.Namespaces) > 0 && !slices.ContainsFunc(f.Namespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, e.workload.Namespace)
		return ok && err == nil
	}) {
		return nil
	}
	least := dossier.Severity(f.Severity).Rank()
	if least == 0 && !f.Fixable && !f.Exploited {
		return e.findings
	}
	var out []Finding
	for _, one := range e.findings {
		if one.Severity.Rank() >= least && (!f.Fixable || one.Fixable) && (!f.Exploited || one.Exploited) {
			out = append(out, one)
		}
	}
	return out
}
