// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"dossier.dev/dossier"
)

// The addresses at which a cluster tells whose token one is, and how its own verify.
const (
	reviewPath = "/apis/authentication.k8s.io/v1/tokenreviews"
	issuerPath = "/.well-known/openid-configuration"
	keysPath   = "/openid/v1/jwks"
)

// reviewTimeout bounds a question about a token: a client waits for the answer.
const reviewTimeout = 10 * time.Second

// ReviewToken asks the cluster whose token one is. It returns the user, its
// groups and its extra fields, when the token is good for one of the audiences,
// of which there must be one. That needs the right to create tokenreviews, as the
// cluster role system:auth-delegator gives.
//
// Errors: KindDenied, the token is not good, or for another audience;
// KindUnavailable, the cluster does not answer, or does not answer us.
func (l *Live) ReviewToken(ctx context.Context, token string, audiences []string) (user string, groups []string, extra map[string][]string, err error) {
	refuse := func(why string) (string, []string, map[string][]string, error) {
		return "", nil, nil, dossier.Errorf(dossier.KindDenied, "reviewing a token with", l.host, why)
	}
	if len(audiences) == 0 {
		return refuse("no audience is asked for")
	}
	review := authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
	review.APIVersion, review.Kind = authenticationv1.SchemeGroupVersion.String(), "TokenReview"
	body, err := json.Marshal(review)
	if err != nil {
		return "", nil, nil, fmt.Errorf("reviewing a token: %w", err)
	}
	ctx, cancel := context.WithTimeout(l.context(ctx), reviewTimeout)
	defer cancel()
	answer, err := l.core.Post().AbsPath(reviewPath).SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").
		Body(body).Do(ctx).Raw()
	if err != nil {
		return "", nil, nil, l.delegationError("reviewing a token with", err)
	}
	review = authenticationv1.TokenReview{}
	if err := json.Unmarshal(answer, &review); err != nil {
		return "", nil, nil, dossier.Errorf(dossier.KindUnavailable, "reviewing a token with", l.host, "the answer is not a TokenReview")
	}
	status := review.Status
	switch {
	case !status.Authenticated || status.User.Username == "":
		return refuse("it is not good")
	// A server that does not know of audiences answers without any: then the
	// token may be for somebody else.
	case !slices.ContainsFunc(status.Audiences, func(a string) bool { return slices.Contains(audiences, a) }):
		return refuse("it is for another audience")
	}
	extra = map[string][]string{}
	for name, values := range status.User.Extra {
		extra[name] = values
	}
	return status.User.Username, status.User.Groups, extra, nil
}

// ReadIssuer returns the name under which the cluster makes service-account
// tokens, and the keys that verify them as a JSON Web Key Set. The keys come
// from the API server itself, wherever its configuration says they are published.
// Errors: KindUnavailable.
func (l *Live) ReadIssuer(ctx context.Context) (issuer string, keys []byte, err error) {
	ctx, cancel := context.WithTimeout(l.context(ctx), reviewTimeout)
	defer cancel()
	get := func(path, accept string) ([]byte, error) {
		body, err := l.core.Get().AbsPath(path).SetHeader("Accept", accept).Do(ctx).Raw()
		if err != nil {
			return nil, l.delegationError("reading issuer of", err)
		}
		return body, nil
	}
	text, err := get(issuerPath, "application/json")
	if err != nil {
		return "", nil, err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(text, &document); err != nil || document.Issuer == "" {
		return "", nil, dossier.Errorf(dossier.KindUnavailable, "reading issuer of", l.host, "the answer names none")
	}
	keys, err = get(keysPath, "application/jwk-set+json")
	return document.Issuer, keys, err
}

// delegationError is apiError, but what the cluster refuses us is our trouble and
// not that of who showed a token.
func (l *Live) delegationError(op string, err error) error {
	err = l.apiError(op, err)
	e, ok := errors.AsType[*dossier.Error](err)
	if !ok || e.Kind == dossier.KindUnavailable {
		return err
	}
	hint := e.Hint
	if code := statusCode(err); code == http.StatusForbidden || code == http.StatusUnauthorized {
		hint = "Bind the cluster roles system:auth-delegator and system:service-account-issuer-discovery to Dossier's service account."
	}
	return &dossier.Error{Kind: dossier.KindUnavailable, Op: e.Op, Subject: e.Subject, Err: e.Err, Hint: hint}
}
