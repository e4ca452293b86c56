// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"
	"strings"

	"dossier.dev/dossier"
)

// Method is how an identity was established.
type Method string

// The methods.
const (
	Anonymous   Method = "anonymous"    // no credentials were given
	Password    Method = "password"     // a user of the htpasswd file
	TokenReview Method = "token review" // the cluster said whose token it is
	Signature   Method = "signature"    // a service-account token whose signature was checked here
	APIToken    Method = "api token"    // one of the tokens that the server was given (APITokens)
)

// Identity is who asks. The zero value is not valid; nobody in particular is
// Identity{Method: Anonymous}.
type Identity struct {
	// User is the user's name, or of a service account the name that Kubernetes
	// gives it, "system:serviceaccount:NAMESPACE:NAME". Empty when anonymous.
	User string `json:"user,omitempty"`
	// Groups are those that the cluster puts a service account into. Groups of
	// users are in the rules, and looked up there each time.
	Groups         []string       `json:"groups,omitempty"`
	ServiceAccount ServiceAccount `json:"serviceAccount,omitzero"` // zero: not one
	Pod            Pod            `json:"pod,omitzero"`            // zero: not known
	Method         Method         `json:"method"`
}

// ServiceAccount names a service account of the cluster.
type ServiceAccount struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Pod names the pod that a service account's token is bound to, in the
// namespace of the service account.
type Pod struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// IsAnonymous reports whether nobody in particular asks.
func (id Identity) IsAnonymous() bool { return id.Method == Anonymous }

// Name is how an identity is shown to people.
func (id Identity) Name() string {
	switch {
	case id.IsAnonymous():
		return string(Anonymous)
	case id.ServiceAccount != ServiceAccount{}:
		return "service account " + id.ServiceAccount.String()
	}
	return id.User
}

// String returns NAMESPACE/NAME.
func (s ServiceAccount) String() string { return s.Namespace + "/" + s.Name }

// The names under which Kubernetes knows service accounts.
const (
	accountPrefix = "system:serviceaccount:"
	accountsGroup = "system:serviceaccounts"
)

// ParseServiceAccount reads NAMESPACE/NAME, or the form in which Kubernetes
// writes it as a user, system:serviceaccount:NAMESPACE:NAME. Errors: KindInvalid.
func ParseServiceAccount(s string) (ServiceAccount, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if rest, isUser := strings.CutPrefix(s, accountPrefix); isUser {
		namespace, name, ok = strings.Cut(rest, ":")
	}
	if !ok || !isAccountName(namespace) || !isAccountName(name) {
		return ServiceAccount{}, dossier.Errorf(dossier.KindInvalid, "reading service account", short(s),
			"want NAMESPACE/NAME or system:serviceaccount:NAMESPACE:NAME")
	}
	return ServiceAccount{Namespace: namespace, Name: name}, nil
}

// maxAccountName is what Kubernetes allows for the name of an object.
const maxAccountName = 253

// isAccountName reports whether s can name an object of Kubernetes (RFC 1123).
func isAccountName(s string) bool {
	if s == "" || len(s) > maxAccountName {
		return false
	}
	for i := range len(s) {
		if !isLowerAlnum(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return isLowerAlnum(s[0]) && isLowerAlnum(s[len(s)-1])
}

func isLowerAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// identity is the identity of a service account. Its groups follow from its
// name, so that nobody else has a say in them.
func (s ServiceAccount) identity(method Method, pod Pod) Identity {
	return Identity{
		User:           accountPrefix + s.Namespace + ":" + s.Name,
		Groups:         []string{accountsGroup, accountsGroup + ":" + s.Namespace},
		ServiceAccount: s,
		Pod:            pod,
		Method:         method,
	}
}

// Names that no user may have, because they mean something else.
const (
	// ServiceAccountUser is the user name with which a service account's token is given as
	// password.
	ServiceAccountUser = "kubernetes-service-account"
	// AnonymousUser stands for nobody in particular where a user is named.
	AnonymousUser = string(Anonymous)
	// APITokenUser is who brings one of APITokens. Rules may name it, an htpasswd
	// file may not.
	APITokenUser = "api-token"
)

// maxUserName bounds the name of a user in bytes.
const maxUserName = 128

// ValidUser reports whether s can be the name of a user: at most 128 printable
// ASCII characters without space, ':', '/' and '*', which lead elsewhere, and
// none of the reserved names.
func ValidUser(s string) bool {
	if s == "" || len(s) > maxUserName || slices.Contains([]string{ServiceAccountUser, AnonymousUser}, s) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(":/*", c) >= 0 {
			return false
		}
	}
	return true
}

// short cuts what came from outside, for an error message.
func short(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// ParseIdentity reads whom a person means: AnonymousUser, a service account as
// ParseServiceAccount takes it, or the name of a user. Errors: KindInvalid.
func ParseIdentity(s string) (Identity, error) {
	switch {
	case s == AnonymousUser:
		return Identity{Method: Anonymous}, nil
	case strings.ContainsAny(s, "/:"):
		account, err := ParseServiceAccount(s)
		if err != nil {
			return Identity{}, err
		}
		return account.identity(TokenReview, Pod{}), nil
	case s == APITokenUser:
		return Identity{User: APITokenUser, Method: APIToken}, nil
	case !ValidUser(s):
		return Identity{}, dossier.Errorf(dossier.KindInvalid, "reading user", short(s), "want a name, NAMESPACE/NAME or anonymous")
	}
	return Identity{User: s, Method: Password}, nil
}
