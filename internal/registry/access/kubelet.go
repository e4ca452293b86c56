// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"dossier.dev/dossier"
)

// The kubelet's protocol for credential providers (KEP-2133 and KEP-4412).
const (
	credentialVersion  = "credentialprovider.kubelet.k8s.io/v1"
	credentialRequest  = "CredentialProviderRequest"
	credentialResponse = "CredentialProviderResponse"
	// MaxCredentialRequest bounds a request, in bytes.
	MaxCredentialRequest = 1 << 20
	// tokenMargin is how long before its end a token is no longer handed out from
	// the kubelet's cache.
	tokenMargin = time.Minute
)

// CredentialConfig says for which registries a service account's token is given
// away. Registries is required: a token sent to another registry would let that
// one act as the pod.
type CredentialConfig struct {
	Registries []string      // HOST or HOST:PORT, as image names have it
	Cache      time.Duration // how long the kubelet may use an answer again; 0: not
	Now        time.Time
}

// ProvideCredential answers a request of the kubelet: the token of the pod's service account as
// the password of ServiceAccountUser, for a registry of the configuration; nothing for
// other registries. Errors: KindInvalid, KindUnsupported for another version of
// the protocol, KindDenied when the kubelet gives no token. None holds a token.
func ProvideCredential(request []byte, c CredentialConfig) ([]byte, error) {
	fail := func(kind dossier.Kind, why, hint string) ([]byte, error) {
		return nil, &dossier.Error{Kind: kind, Op: "answering", Subject: "the kubelet", Err: errors.New(why), Hint: hint}
	}
	if len(request) > MaxCredentialRequest {
		return fail(dossier.KindLimit, fmt.Sprintf("the request has more than %d bytes", MaxCredentialRequest), "")
	}
	var ask struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Image      string `json:"image"`
		Token      string `json:"serviceAccountToken"`
	}
	if err := json.Unmarshal(request, &ask); err != nil {
		return fail(dossier.KindInvalid, "the request is not JSON", "the kubelet runs this command, with a request on its standard input")
	}
	if ask.Kind != credentialRequest || ask.APIVersion != credentialVersion {
		return fail(dossier.KindUnsupported, fmt.Sprintf("the request is %s %s", short(ask.APIVersion), short(ask.Kind)),
			"set apiVersion: "+credentialVersion+" in the CredentialProviderConfig")
	}
	image, err := dossier.ParseReference(ask.Image)
	if err != nil {
		return nil, fmt.Errorf("answering the kubelet: %w", err)
	}
	answer := credentialAnswer{Kind: credentialResponse, APIVersion: credentialVersion, CacheKeyType: "Registry", CacheDuration: "0s"}
	if !slices.Contains(c.Registries, image.Registry) {
		return json.Marshal(answer)
	}
	if ask.Token == "" {
		return fail(dossier.KindDenied, "the request has no service account token",
			"set tokenAttributes with serviceAccountTokenAudience and requireServiceAccount: true in the CredentialProviderConfig")
	}
	if len(ask.Token) > maxTokenBytes || strings.ContainsFunc(ask.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fail(dossier.KindInvalid, "the service account token is not a token", "")
	}
	answer.CacheDuration = usableFor(ask.Token, c).String()
	answer.Auth = map[string]credential{image.Registry: {ServiceAccountUser, ask.Token}}
	return json.Marshal(answer)
}

// credentialAnswer is a CredentialProviderResponse.
type credentialAnswer struct {
	Kind          string                `json:"kind"`
	APIVersion    string                `json:"apiVersion"`
	CacheKeyType  string                `json:"cacheKeyType"`
	CacheDuration string                `json:"cacheDuration"` // as time.Duration prints it
	Auth          map[string]credential `json:"auth,omitempty"`
}

type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// usableFor is how long an answer may be used again: not beyond the token's end,
// as far as that can be read.
func usableFor(token string, c CredentialConfig) time.Duration {
	var claims jwt.Claims
	parsed, _, err := parseToken(token, clusterAlgorithms()...)
	if err != nil || parsed.UnsafeClaimsWithoutVerification(&claims) != nil || claims.Expiry == nil {
		return 0
	}
	left := claims.Expiry.Time().Sub(c.Now) - tokenMargin
	return max(0, min(c.Cache, left)).Truncate(time.Second)
}
