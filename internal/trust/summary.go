// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
	"strings"
	"time"

	"dossier.dev/dossier"
)

// PredicateSummary is the type of a Summary (SLSA, verification summary v1).
const PredicateSummary = "https://slsa.dev/verification_summary/v1"

// unevaluated says that nobody looked at how an artifact was built, as SLSA counts it.
const unevaluated = "SLSA_BUILD_LEVEL_UNEVALUATED"

// Summary is what somebody who verified something says of it to those who rely on that, and so do not
// have to verify it again.
type Summary struct {
	Subject   dossier.Digest
	Reference string           // of an image, as asked for; "": it is no image
	Verifier  string           // URI of who verified
	Version   string           // of this program
	At        time.Time        // when
	Policy    dossier.Digest   // by what was believed
	Inputs    []dossier.Digest // all that was looked at
	Verified  bool
	// Level is what was verified, in a word: SLSA has no word for what this program says. "":
	// the policy takes it whoever signed it.
	Level string
}

// Words of Summary.Level.
const (
	LevelSigned = "DOSSIER_SIGNED" // by those whom the policy wants
	LevelProven = "DOSSIER_PROVEN" // what is answered of it follows from evidence in a transparency log
)

// summaryResource is a ResourceDescriptor of in-toto.
type summaryResource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}

func resource(uri string, d dossier.Digest) summaryResource {
	return summaryResource{uri, map[string]string{d.Algorithm(): d.Hex()}}
}

// Statement returns the summary as an in-toto statement v1.
func (s Summary) Statement() []byte {
	inputs := []summaryResource{}
	for _, d := range s.Inputs {
		inputs = append(inputs, resource("", d))
	}
	result, levels := "PASSED", []string{unevaluated}
	if s.Level != "" {
		levels = append(levels, s.Level)
	}
	if !s.Verified {
		result, levels = "FAILED", []string{"FAILED"}
	}
	b, _ := json.Marshal(map[string]any{ // strings only: cannot fail
		"verifier":           map[string]any{"id": s.Verifier, "version": map[string]string{"dossier": s.Version}},
		"timeVerified":       s.At.UTC().Format(time.RFC3339),
		"resourceUri":        resourceURI(s.Reference, s.Subject),
		"policy":             resource("urn:dossier:trust:"+string(s.Policy), s.Policy),
		"inputAttestations":  inputs,
		"verificationResult": result,
		"verifiedLevels":     levels,
		"slsaVersion":        "1.0",
	})
	return Statement(s.Subject, PredicateSummary, b)
}

// resourceURI names an image by a package URL of the type oci.
func resourceURI(reference string, d dossier.Digest) string {
	ref, err := dossier.ParseReference(reference)
	if err != nil {
		return "urn:dossier:digest:" + string(d)
	}
	repository := strings.ToLower(ref.Name())
	uri := "pkg:oci/" + url.PathEscape(path.Base(repository)) + "@" + url.QueryEscape(string(d)) + "?repository_url=" + repository
	if ref.Tag != "" {
		uri += "&tag=" + url.QueryEscape(ref.Tag)
	}
	return uri
}

// SignEnvelope signs a statement as a DSSE envelope. The ID of the key is the SHA-256 of it in
// hexadecimal digits, as slsa-verifier wants it.
func (k *PrivateKey) SignEnvelope(statement []byte) ([]byte, error) {
	e := envelope{payloadType: payloadInToto, payload: statement}
	sig, err := k.sign(e.pae())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public.Public)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(der)
	return json.Marshal(map[string]any{
		"payloadType": payloadInToto, "payload": statement,
		"signatures": []any{map[string]any{"keyid": hex.EncodeToString(hash[:]), "sig": sig}},
	})
}
