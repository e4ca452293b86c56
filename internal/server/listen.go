// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/api"
	"dossier.dev/dossier/internal/config"
	"dossier.dev/dossier/internal/notify"
	"dossier.dev/dossier/internal/registry/access"
)

// DefaultListen is where a server listens unless told otherwise.
const DefaultListen = "127.0.0.1:8480"

// ServeConfig is what Serve does, and for whom.
type ServeConfig struct {
	Config
	Listen    string // host:port; empty: DefaultListen; port 0: any that is free
	Blobs     string // s3://... (s3.ParseURL); empty: BlobsDir within Config.Data
	Cluster   ClusterOptions
	NoCluster bool // follow none: serve what others write into the store
	// TLSCert and TLSKey are PEM files. They are read again when they change.
	TLSCert, TLSKey string
	// TokenFile holds bearer tokens (api.ReadTokens), one of which every
	// request must then bring. It is read again when it changes.
	TokenFile string
	Build     Build // for metrics
	// LogKey is the file of the key that signs the log (translog.OpenKey); empty: LogKeyFile within
	// Data, and no log where there is no Data.
	LogKey string

	// SealKey is a file of keys (seal.Parse) that encrypt the private keys in the database; empty: they are not encrypted.
	SealKey string

	// Witness says for which logs this is a witness, Witnesses who are asked to sign its own.
	Witness   config.Witness
	Witnesses []config.Asked

	Registry   config.Registry
	Advisories config.Advisories
	// Notifications says who is told what changes, NotifyPoll after what time it is
	// looked for something to tell; 0: notify's default.
	Notifications config.Notifications
	NotifyPoll    time.Duration
	// Triage says which findings do not count, TriageEvery how often its files are
	// looked at; 0: every ten seconds.
	Triage      config.Triage
	TriageEvery time.Duration
	// TrustEvery is how often the trust policy and what it names are looked at; 0: every
	// ten seconds.
	TrustEvery time.Duration
	// AccessLog logs every request. Traces sends spans of them to a collector.
	AccessLog bool
	Traces    config.Traces
}

// Build says which program this is.
type Build struct{ Version, Revision string }

// Validate returns all faults as one KindInvalid error. Beyond loopback both
// TLS and tokens are required.
func (c ServeConfig) Validate() error {
	var faults []error
	fault := func(subject, why, hint string) {
		faults = append(faults, &dossier.Error{Kind: dossier.KindInvalid, Op: "checking", Subject: subject, Err: errors.New(why), Hint: hint})
	}
	host, port, err := net.SplitHostPort(cmp.Or(c.Listen, DefaultListen))
	if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
		fault("--listen="+c.Listen, "it is not HOST:PORT", "give an address such as "+DefaultListen)
	} else if !isLoopback(host) && (c.TLSCert == "" || c.TokenFile == "") {
		fault("--listen="+c.Listen, "beyond loopback everybody who can reach the port could read the answers",
			"give --tls-cert, --tls-key and --token-file, or listen on "+DefaultListen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fault("--tls-cert and --tls-key", "one is of no use without the other", "give both")
	}
	if c.Traces.Endpoint != "" {
		if _, err := tracesURL(c.Traces.Endpoint); err != nil {
			fault("traces.endpoint", "it is not the URL of a collector", "write it like http://127.0.0.1:4318")
		}
	}
	if c.Traces.Ratio < 0 || c.Traces.Ratio > 1 {
		fault("traces.ratio", "it is not a part of the whole", "write a number from 0 to 1, such as 0.01")
	}
	c.validateAdvisories(fault)
	c.validateWitnesses(fault)
	c.validateTriage(fault)
	notify.Check(c.Notifications, c.Offline, fault)
	if !c.Registry.Off {
		c.validateRegistry(fault)
		for _, u := range c.upstreams() {
			faults = append(faults, u.Validate())
		}
	}
	return errors.Join(faults...)
}

// isLoopback reports whether a listener on host is for this machine alone.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// entrance says who can reach a server.
type entrance struct {
	listen   string
	loopback bool
	tokens   api.Tokens
	tls      *tls.Config // nil: plain
}

// orNow returns a clock.
func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// entrance reads what the configuration names.
func (c ServeConfig) entrance() (entrance, error) {
	a := entrance{listen: cmp.Or(c.Listen, DefaultListen)}
	host, _, _ := net.SplitHostPort(a.listen) // Validate has seen it
	a.loopback = isLoopback(host)
	if c.TLSCert != "" {
		cert, err := openCertificate(c.TLSCert, c.TLSKey, cmp.Or(c.Logger, slog.New(slog.DiscardHandler)), orNow(c.Now))
		if err != nil {
			return a, err
		}
		a.tls = &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12}
	}
	if c.TokenFile == "" {
		return a, nil
	}
	parse := func(text []byte) (api.Tokens, error) { return api.ReadTokens(bytes.NewReader(text)) }
	file, err := access.OpenFile(c.TokenFile, api.MaxTokensFile, parse, c.Logger, c.Now)
	if err != nil {
		return a, &dossier.Error{Kind: dossier.KindInvalid, Op: "reading tokens", Err: err, Hint: cmp.Or(dossier.HintOf(err), "check --token-file")}
	}
	a.tokens = api.CurrentTokens(func() api.Tokens { return file.Get(context.Background()) })
	return a, nil
}

// open opens the listener.
func (a entrance) open(ctx context.Context) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &dossier.Error{Kind: dossier.KindUnavailable, Op: "listening on", Subject: a.listen, Err: err,
			Hint: "choose another address with --listen, or end the program that has this one"}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.listen)
	if err != nil {
		return fail(err)
	}
	// A name may lead anywhere.
	if addr, ok := listener.Addr().(*net.TCPAddr); a.loopback && (!ok || !addr.IP.IsLoopback()) {
		return fail(errors.Join(errors.New("the name does not lead to loopback"), listener.Close()))
	}
	return listener, nil
}

// serve serves on listener, with TLS when there is a certificate.
func (a entrance) serve(web *http.Server, listener net.Listener) error {
	if a.tls != nil {
		return web.ServeTLS(listener, "", "")
	}
	return web.Serve(listener)
}
