// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"

	"dossier.dev/dossier"
)

// The defaults of Options.
const (
	DefaultTimeout = 10 * time.Second
	DefaultQPS     = 50
	DefaultBurst   = 100
	DefaultResync  = 10 * time.Minute
)

// Options say how to reach a cluster. The zero value is what kubectl would use,
// or inside a pod its service account.
type Options struct {
	Kubeconfig string // path; empty: $KUBECONFIG, then ~/.kube/config, then in-cluster
	Context    string // of the kubeconfig; empty: its current one

	Timeout time.Duration // for reaching the server and for its first answer; 0: DefaultTimeout
	QPS     float32       // requests a second; 0: DefaultQPS
	Burst   int           // requests at once beyond QPS; 0: DefaultBurst
	Resync  time.Duration // between two lists of everything in Watch; 0: DefaultResync

	UserAgent string
	Log       *slog.Logger     // of the Kubernetes client library; nil: silent
	Now       func() time.Time // nil: time.Now
}

// Live is a connection to a cluster. Its methods may be called at the same time.
type Live struct {
	cluster dossier.Cluster
	host    string
	core    rest.Interface
	apps    rest.Interface
	batch   rest.Interface
	meta    metadata.Interface
	codec   runtime.ParameterCodec
	log     logr.Logger
	resync  time.Duration
	now     func() time.Time
	health  health
}

// Connect finds a cluster by the rules of kubectl and asks it who it is. The
// cluster's ID is the UID of its namespace kube-system, or when that may not be
// read "host:" and a hash of the server's URL and CA; its name is that of the
// context, or in a pod the server's host.
//
// Errors: KindNotFound, no configuration; KindInvalid, a broken one;
// KindUnavailable, no server answers within Options.Timeout; KindDenied, it
// knows no such user. All have hints.
func Connect(ctx context.Context, opt Options) (*Live, error) {
	config, name, err := loadConfig(opt)
	if err != nil {
		return nil, err
	}
	l, err := newLive(config, name, opt)
	if err != nil {
		return nil, &dossier.Error{
			Kind: dossier.KindInvalid, Op: "configuring the client of", Subject: config.Host, Err: err,
			Hint: "Check the certificates and the user of the kubeconfig's context.",
		}
	}
	timeout := cmp.Or(opt.Timeout, DefaultTimeout)
	ctx, cancel := context.WithTimeout(l.context(ctx), timeout)
	defer cancel()
	if l.cluster.ID, err = l.identify(ctx, config); err != nil {
		return nil, err
	}
	return l, nil
}

// Cluster is the cluster that l is connected to.
func (l *Live) Cluster() dossier.Cluster { return l.cluster }

// loadConfig follows kubectl's rules. It returns the name of the context, too.
func loadConfig(opt Options) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = opt.Kubeconfig
	rules.WarnIfAllMissing = false
	tried := strings.Join(rules.GetLoadingPrecedence(), ", ")
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: opt.Context})
	fail := func(kind dossier.Kind, err error, hint string) (*rest.Config, string, error) {
		return nil, "", &dossier.Error{Kind: kind, Op: "reading kubeconfig", Subject: tried, Err: err, Hint: hint}
	}
	raw, err := loader.RawConfig()
	if errors.Is(err, os.ErrNotExist) {
		return fail(dossier.KindNotFound, errors.New("there is no such file"), "Check --kubeconfig.")
	} else if err != nil {
		return fail(dossier.KindInvalid, err, "Check that it is a kubeconfig file: kubectl config view.")
	}
	name := cmp.Or(opt.Context, raw.CurrentContext)
	if _, ok := raw.Contexts[name]; !ok && name != "" {
		return fail(dossier.KindInvalid, errors.New("it has no context "+name), "Choose one of kubectl config get-contexts with --context.")
	}
	config, err := loader.ClientConfig()
	switch {
	case err != nil && (clientcmd.IsEmptyConfig(err) || len(raw.Clusters) == 0):
		return fail(dossier.KindNotFound, errors.New("no cluster is configured"),
			"Set KUBECONFIG or --kubeconfig, or read manifests with -f.")
	case err != nil:
		return fail(dossier.KindInvalid, err, "Check that it is a kubeconfig file: kubectl config view.")
	}
	if name == "" {
		name = config.Host
		if u, err := url.Parse(config.Host); err == nil && u.Host != "" {
			name = u.Host
		}
	}
	return config, name, nil
}

// newLive makes the clients. They share one connection.
func newLive(config *rest.Config, name string, opt Options) (*Live, error) {
	config = rest.CopyConfig(config)
	timeout := cmp.Or(opt.Timeout, DefaultTimeout)
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext
	}
	config.QPS, config.Burst = cmp.Or(opt.QPS, DefaultQPS), cmp.Or(opt.Burst, DefaultBurst)
	config.UserAgent = cmp.Or(opt.UserAgent, "dossier")
	config.WarningHandler = rest.NoWarnings{}
	config.DisableCompression = isNear(config)
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.ContentType = runtime.ContentTypeProtobuf
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst) // of all clients together
	client := func(path string, gv schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.APIPath, c.GroupVersion, c.NegotiatedSerializer = path, &gv, codecs
		return rest.RESTClientForConfigAndClient(c, httpClient)
	}
	core, err := client("/api", corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	apps, err := client("/apis", appsv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	batch, err := client("/apis", batchv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	l := &Live{
		cluster: dossier.Cluster{Name: name},
		host:    config.Host,
		core:    core,
		apps:    apps,
		batch:   batch,
		meta:    meta,
		codec:   runtime.NewParameterCodec(scheme),
		log:     logr.Discard(),
		resync:  cmp.Or(opt.Resync, DefaultResync),
		now:     opt.Now,
	}
	if opt.Log != nil {
		l.log = logr.FromSlogHandler(opt.Log.Handler())
	}
	if l.now == nil {
		l.now = time.Now
	}
	return l, nil
}

// serviceAccountToken is where a pod finds its token.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// isNear reports whether nothing slow can lie between here and the server: to
// compress a list of pods takes both sides longer than to send it then.
func isNear(config *rest.Config) bool {
	host := config.Host
	if !strings.Contains(host, "://") {
		host = "//" + host
	}
	u, err := url.Parse(host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return config.BearerTokenFile == serviceAccountToken || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// context gives the client library the log to write to; without it, it would
// write to standard error.
func (l *Live) context(ctx context.Context) context.Context { return logr.NewContext(ctx, l.log) }

// identify returns the cluster's ID.
func (l *Live) identify(ctx context.Context, config *rest.Config) (string, error) {
	ns, err := l.meta.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err == nil && ns.UID != "" {
		return string(ns.UID), nil
	}
	if err != nil && statusCode(err) != http.StatusForbidden && statusCode(err) != http.StatusNotFound {
		return "", l.apiError("asking", err)
	}
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", &dossier.Error{Kind: dossier.KindInvalid, Op: "reading certificates of", Subject: config.Host, Err: err}
	}
	sum := sha256.Sum256(append([]byte(config.Host+"\n"), config.CAData...))
	return "host:" + hex.EncodeToString(sum[:8]), nil
}
