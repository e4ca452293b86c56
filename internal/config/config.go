// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package config is the words in which a server is configured
// (docs/spec/config.md): plain structs whose zero value is the default, and the
// YAML file that they are read from.
//
// It promises: a field that it does not know, a key that is there twice, and a
// value of another type are refused, all of them at once and with their lines;
// paths in a file are relative to the directory of the file; no error shows a
// value that may hold a secret.
//
// It opens nothing but the file, and knows no flags: who has some puts them over what it
// read, as the environment is put over the file by [File.Environ].
package config

import "time"

// File is the configuration of a server.
type File struct {
	Data     string `yaml:"data"`     // directory of the embedded store
	Database string `yaml:"database"` // postgres://..., instead of the embedded one
	// CheckpointPages is how many pages of 4 KiB the embedded database logs before it copies
	// them to their places. 0: 16000.
	CheckpointPages int    `yaml:"checkpointPages"`
	Blobs           string `yaml:"blobs"`  // s3://..., instead of a directory below Data
	Listen          string `yaml:"listen"` // HOST:PORT
	TLS             TLS    `yaml:"tls"`
	TokenFile       string `yaml:"tokenFile"` // tokens that may do everything, one a line
	LogKey          string `yaml:"logKey"`    // file of the key that signs the transparency log; empty: log.key in Data
	SealKey         string `yaml:"sealKey"`   // file of keys that encrypt the private keys in the database; empty: they are not encrypted
	// Witness says for which logs the server is a witness, Witnesses who are those of its own.
	Witness   Witness `yaml:"witness"`
	Witnesses []Asked `yaml:"witnesses"`
	Offline   bool    `yaml:"offline"` // use no network
	// PlainHTTP are hosts of registries that are spoken to without TLS, RegistryCA is
	// a file with certificates to trust for registries.
	PlainHTTP  []string   `yaml:"plainHTTP"`
	RegistryCA string     `yaml:"registryCA"`
	Cluster    Cluster    `yaml:"cluster"`
	Registry   Registry   `yaml:"registry"`
	Advisories Advisories `yaml:"advisories"`
	Log        Log        `yaml:"log"`
	Traces     Traces     `yaml:"traces"`

	Notifications Notifications `yaml:"notifications"`
	Triage        Triage        `yaml:"triage"`
}

// Log says what is logged, and how.
type Log struct {
	Access bool   `yaml:"access"` // every request
	Format string `yaml:"format"` // text or json; empty: text
}

// Witness says whose checkpoints are signed.
type Witness struct {
	Logs []string `yaml:"logs"` // verifier keys; none: it is no witness
	Key  string   `yaml:"key"`  // file of the key to sign with; empty: witness.key in Data
}

// Asked is a witness that is asked to sign the checkpoints of the server's log.
type Asked struct {
	URL string `yaml:"url"` // before /add-checkpoint
	Key string `yaml:"key"` // its verifier key
}

// Traces says where spans of requests are sent.
type Traces struct {
	Endpoint string  `yaml:"endpoint"` // URL of an OTLP collector over HTTP; empty: none are made
	Ratio    float64 `yaml:"ratio"`    // of requests that come without a decision; 0: all
}

// TLS names the PEM files of a certificate and its key.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Cluster says which cluster is followed, and what of it.
type Cluster struct {
	Off        bool     `yaml:"off"` // none
	Kubeconfig string   `yaml:"kubeconfig"`
	Context    string   `yaml:"context"`
	Namespaces []string `yaml:"namespaces"` // none: all
	Selector   string   `yaml:"selector"`   // of pods
}

// Registry is the registry that a server is.
type Registry struct {
	Off     bool     `yaml:"off"`
	Name    string   `yaml:"name"`    // HOST or HOST:PORT in references; empty: as before, at first the address
	Movable []string `yaml:"movable"` // patterns REPOSITORY:TAG of tags that may move although they look like versions
	Sparse  bool     `yaml:"sparse"`  // take indexes of which not all manifests are there
	// AuditKeep is how long pulls and refusals are on record, as dossier.ParseAge takes it; "0": for ever.
	AuditKeep string `yaml:"auditKeep"`
	Care      Care   `yaml:"care"`
	// Quotas are in force once a server has started with them, for all servers of its
	// database; a server with others replaces them.
	Quotas []Quota `yaml:"quotas"`
	// Upstreams are registries that are pulled through. UpstreamCredentials is a file
	// in the form of Docker's configuration, for those that name none of their own.
	Upstreams           []Upstream `yaml:"upstreams"`
	UpstreamCredentials string     `yaml:"upstreamCredentials"`

	TUF TUF `yaml:"tuf"`

	AnonymousPull   bool            `yaml:"anonymousPull"` // let everybody in who shows nothing, to pull
	Htpasswd        string          `yaml:"htpasswd"`      // file of users
	Rules           string          `yaml:"rules"`         // file of access rules
	Tokens          Tokens          `yaml:"tokens"`
	ServiceAccounts ServiceAccounts `yaml:"serviceAccounts"`
	Limits          Limits          `yaml:"limits"`
}

// TUF is the signed metadata that says what tags mean (docs/spec/tuf.md).
type TUF struct {
	Prefixes []string      `yaml:"prefixes"` // paths at or below which repositories have metadata; none: it is not served
	Life     time.Duration `yaml:"life"`     // of a timestamp; 0: 6h
	Every    time.Duration `yaml:"every"`    // between two timestamps; 0: 1h, or a third of Life
}

// Login reports whether there is a way to show who one is, besides the tokens of
// the token file.
func (r Registry) Login() bool { return r.Htpasswd != "" || r.ServiceAccounts.Audience != "" }

// Tokens are those that the registry makes for its clients.
type Tokens struct {
	Off     bool          `yaml:"off"`     // make none: clients show a user and a password each time
	Service string        `yaml:"service"` // audience; empty: the name of the registry
	Issuer  string        `yaml:"issuer"`  // empty: Service
	Realm   string        `yaml:"realm"`   // URL of the token endpoint; empty: where the client asks
	Life    time.Duration `yaml:"life"`    // 0: 5m, which is the most
	Keys    string        `yaml:"keys"`    // file of signing keys; empty: made by the registry, and kept in its database
}

// ServiceAccounts says how those of a Kubernetes cluster are known.
type ServiceAccounts struct {
	Audience string `yaml:"audience"` // what their tokens must be made for; empty: none is known
	Check    Check  `yaml:"check"`
	// Issuer is the URL of who signs the tokens; empty: the API server of the cluster says.
	Issuer string `yaml:"issuer"`
}

// Check is a way to check the token of a service account.
type Check string

// The ways.
const (
	CheckReview Check = "review" // ask the cluster (TokenReview); the default
	CheckKeys   Check = "keys"   // verify the signature with the keys of the issuer
	CheckBoth   Check = "both"
)

// Reviews reports whether the cluster is asked.
func (c Check) Reviews() bool { return c != CheckKeys }

// Verifies reports whether signatures are verified.
func (c Check) Verifies() bool { return c == CheckKeys || c == CheckBoth }

// Limits of the registry. Zero is the default of each, which docs/spec/registry.md gives.
type Limits struct {
	Blob       Size          `yaml:"blob"`       // of one
	Requests   int           `yaml:"requests"`   // at the same time
	UploadLife time.Duration `yaml:"uploadLife"` // of an upload to which nothing is added
	ReadTime   time.Duration `yaml:"readTime"`   // for a client to send each part of a request
	WriteTime  time.Duration `yaml:"writeTime"`  // for a client to take each part of a response
}

// Upstream is a registry that is pulled through.
type Upstream struct {
	Name        string        `yaml:"name"`        // HOST or HOST:PORT in references
	URL         string        `yaml:"url"`         // where it is asked; empty: https and the name
	Realm       string        `yaml:"realm"`       // token service that credentials may be sent to, HOST or HOST:PORT
	Credentials string        `yaml:"credentials"` // file in the form of Docker's configuration
	Fresh       time.Duration `yaml:"fresh"`       // how long it counts where a tag was seen to point; 0: 1 minute
}
