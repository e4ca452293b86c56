// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package api serves the answers as JSON over HTTP (docs/spec/api.md), with
// health checks and metrics beside them.
//
// It promises: every error is a dossier.Problem with the status that one table
// gives its kind; nothing is read from a request beyond a named limit; a request
// without a valid token, where tokens are required, learns nothing; on loopback
// only requests that were addressed to loopback are answered, so that no web page
// can read answers through a name that was bound anew; and every route, parameter and field is in
// the OpenAPI document that it serves.
//
// It changes nothing, judges nothing, and opens no listener: package server
// builds a [Handler] and says who may reach it.
package api
