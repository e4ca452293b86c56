// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Headers of a request (Standard Webhooks 1.0.0).
const (
	HeaderID        = "Webhook-Id"        // of the event
	HeaderTimestamp = "Webhook-Timestamp" // when it was sent, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // "v1,BASE64", one for each key, with spaces between
)

// maxKeys is how many keys may sign at the same time, minKey how long one is at
// least, in bytes.
const (
	maxKeys = 2
	minKey  = 24
)

// ParseKeys reads keys, one a line: base64, with or without "whsec_" before it. While
// receivers change from one to another there are two.
func ParseKeys(b []byte) ([][]byte, error) {
	var keys [][]byte
	for line := range bytes.Lines(b) {
		text := strings.TrimPrefix(strings.TrimSpace(string(line)), "whsec_")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) < minKey {
			return nil, fmt.Errorf("want at least %d bytes in base64 on each line", minKey) // without the line: it may be a key
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("want one key or two, found %d", len(keys))
	}
	return keys, nil
}

// Sign returns the value of HeaderSignature: HMAC-SHA256 over ID, timestamp and
// body with full stops between them, for each key.
func Sign(keys [][]byte, id string, at time.Time, body []byte) string {
	list := make([]string, len(keys))
	for i, key := range keys {
		list[i] = "v1," + base64.StdEncoding.EncodeToString(mac(key, id, strconv.FormatInt(at.Unix(), 10), body))
	}
	return strings.Join(list, " ")
}

func mac(key []byte, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// maxSkew is how far the clock of a sender may be off.
const maxSkew = 5 * time.Minute

// Verify checks a request as a receiver does: one of the signatures is right, and
// it was made within five minutes of now.
func Verify(key []byte, id, timestamp, signature string, body []byte, now time.Time) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("the timestamp is no number")
	}
	if skew := now.Sub(time.Unix(seconds, 0)); skew > maxSkew || skew < -maxSkew {
		return fmt.Errorf("it was signed %v ago", skew)
	}
	want := mac(key, id, timestamp, body)
	for one := range strings.FieldsSeq(signature) {
		version, text, _ := strings.Cut(one, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(want, got) {
			return nil
		}
	}
	return errors.New("no signature is right")
}
