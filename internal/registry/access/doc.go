// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package access says who asks the registry for something, and whether they may
// have it (docs/spec/access.md).
//
// An [Authenticator] turns credentials into an [Identity]: users of an htpasswd
// file, Kubernetes service accounts, holders of a token that [Tokens] made, or
// nobody by name. [Rules] decide what an identity may do in which repository.
// A [Guard] joins the two for a server, and a [TokenEndpoint] hands out tokens
// as Docker and OCI clients expect them.
//
// It promises: without a rule that allows it nothing is allowed; a token never
// allows more than the rules do at the time of its use, nor more than was asked
// for when it was made; a credential that was changed or removed takes its tokens with it; a token or key is
// believed for what its verifier is configured for, never for what it says of
// itself; secrets are compared in constant time, and appear in no error and no log;
// every input from outside has a named limit.
//
// It knows no blobs, manifests or tags, imports nothing of the registry, speaks
// to no Kubernetes API itself ([TokenReviewer] does), and keeps no sessions.
package access
