// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"dossier.dev/dossier"
)

const (
	// PageSize is how many objects one request lists.
	PageSize = 500
	// maxObjects bounds a list of one resource, should a server never end it.
	maxObjects = 2_000_000
	// pageTimeout bounds one request.
	pageTimeout = time.Minute
	// maxRestarts is how often a list that expired between two pages is begun anew.
	maxRestarts = 3
	// runningPods leaves pods that have ended to the server.
	runningPods = "status.phase!=Succeeded,status.phase!=Failed"
)

// statusCode is the HTTP status with which the server refused, or 0 when it did
// not answer.
func statusCode(err error) int {
	var refusal apierrors.APIStatus
	if errors.As(err, &refusal) {
		return int(refusal.Status().Code)
	}
	return 0
}

// apiError turns an error of the client library into one of ours.
func (l *Live) apiError(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: %w", op, l.host, err)
	}
	if ours, ok := errors.AsType[*dossier.Error](err); ok {
		return ours
	}
	e := &dossier.Error{Kind: dossier.KindUnavailable, Op: op, Subject: l.host, Err: err}
	if u, ok := errors.AsType[*url.Error](err); ok {
		e.Err = u.Err // the address is in Subject
	}
	switch code := statusCode(err); {
	case code == http.StatusUnauthorized:
		e.Kind = dossier.KindDenied
		e.Hint = fmt.Sprintf("Log in to the cluster anew; the context is %s.", l.cluster.Name)
	case code == http.StatusForbidden:
		e.Kind = dossier.KindDenied
		e.Hint = "Ask for the right to list and watch pods there."
	case code == http.StatusNotFound:
		e.Kind = dossier.KindNotFound
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		e.Kind = dossier.KindInvalid
	case code != 0:
	case isCertificateError(err):
		e.Hint = fmt.Sprintf("Check the certificate authority of the cluster in the kubeconfig; the context is %s.", l.cluster.Name)
	case strings.Contains(err.Error(), "getting credentials: "): // the client library has no type for it
		e.Hint = fmt.Sprintf("Install what gets the credentials of the kubeconfig's user, or log in anew; the context is %s.", l.cluster.Name)
	default:
		e.Hint = fmt.Sprintf("Check that the cluster runs and can be reached from here; the context is %s.", l.cluster.Name)
	}
	return e
}

// isCertificateError reports whether the server showed a certificate that is
// not trusted.
func isCertificateError(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// page is what all lists of the API share.
type page interface {
	GetContinue() string
	GetResourceVersion() string
}

// pages calls get for each page of a list, beginning anew with restart when the
// list expires in between. It returns the resource version of the list. Errors
// are those of the client library, or a *dossier.Error.
func (l *Live) pages(ctx context.Context, opts metav1.ListOptions, restart func(), get func(context.Context, metav1.ListOptions) (page, int, error)) (string, error) {
	opts.Limit = PageSize
	restarts, total := 0, 0
	for {
		pageCtx, cancel := context.WithTimeout(ctx, pageTimeout)
		p, n, err := get(pageCtx, opts)
		cancel()
		if apierrors.IsResourceExpired(err) && opts.Continue != "" && restarts < maxRestarts {
			restart()
			restarts, total, opts.Continue = restarts+1, 0, ""
			continue
		}
		if err != nil {
			return "", err
		}
		if total += n; total > maxObjects {
			return "", dossier.Errorf(dossier.KindLimit, "listing from", l.host, fmt.Sprintf("the list has more than %d objects", maxObjects))
		}
		if opts.Continue = p.GetContinue(); opts.Continue == "" {
			l.health.ok(l.now())
			return p.GetResourceVersion(), nil
		}
	}
}

// listPods lists the pods of a namespace ("": all) that have not ended, each
// page reduced as soon as it is there.
func (l *Live) listPods(ctx context.Context, namespace, selector string) ([]pod, string, error) {
	var pods []pod
	opts := metav1.ListOptions{LabelSelector: selector, FieldSelector: runningPods}
	restart := func() { pods = pods[:0] }
	version, err := l.pages(ctx, opts, restart, func(ctx context.Context, opts metav1.ListOptions) (page, int, error) {
		var list corev1.PodList
		err := l.core.Get().Namespace(namespace).Resource("pods").VersionedParams(&opts, l.codec).Do(ctx).Into(&list)
		for i := range list.Items {
			pods = append(pods, reduce(&list.Items[i]))
		}
		return &list, len(list.Items), err
	})
	return pods, version, err
}

// listMeta calls yield with the metadata of the objects of a resource. It may
// be called twice with one object.
func (l *Live) listMeta(ctx context.Context, resource schema.GroupVersionResource, namespace string, yield func(*metav1.PartialObjectMetadata)) error {
	_, err := l.pages(ctx, metav1.ListOptions{}, func() {}, func(ctx context.Context, opts metav1.ListOptions) (page, int, error) {
		list, err := l.meta.Resource(resource).Namespace(namespace).List(ctx, opts)
		if err != nil {
			return nil, 0, err
		}
		for i := range list.Items {
			yield(&list.Items[i])
		}
		return list, len(list.Items), nil
	})
	return err
}

// getMeta gets the metadata of one object.
func (l *Live) getMeta(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	return l.meta.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
}

// resources lists the kinds of a group and version.
func (l *Live) resources(ctx context.Context, gv schema.GroupVersion) ([]metav1.APIResource, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	path := []string{"/apis", gv.Group, gv.Version}
	if gv.Group == "" {
		path = []string{"/api", gv.Version}
	}
	var list metav1.APIResourceList
	err := l.core.Get().AbsPath(path...).SetHeader("Accept", "application/json").Do(ctx).Into(&list)
	return list.APIResources, err
}
