// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package registry

// CallerKind says what a caller is.
type CallerKind string

// The kinds of caller.
const (
	CallerAnonymous CallerKind = "anonymous" // nobody in particular
	CallerUser      CallerKind = "user"
	CallerAccount   CallerKind = "serviceaccount" // of Kubernetes
	CallerToken     CallerKind = "token"          // who holds a token of the server's token file
	CallerLocal     CallerKind = "local"          // who works on database and blobs without a server
)

// Caller is who sends a request. The zero value is nobody in particular.
type Caller struct {
	Kind CallerKind // empty: CallerAnonymous
	// Name is unique within the kind: of a user, or NAMESPACE/NAME of a service
	// account. Empty for the other kinds.
	Name string
	// Pod is the pod that the token of a service account is bound to, in the
	// namespace of the account. Empty: not known.
	Pod, PodUID string
	// Login is the way in which the caller showed who it is, as one or two words:
	// "password", "token review", "signature", "api token". Empty: in none.
	Login string
}

// String names a caller among all, whatever the kinds: "user:alice",
// "serviceaccount:ci/builder", "token", "anonymous". Uploads belong to it.
func (c Caller) String() string {
	kind := c.Kind
	if kind == "" {
		kind = CallerAnonymous
	}
	if c.Name == "" {
		return string(kind)
	}
	return string(kind) + ":" + c.Name
}
