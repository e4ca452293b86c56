// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/trust"
)

// verifyFlags say who may have signed, and by which infrastructure.
type verifyFlags struct {
	bundle          string
	keys            []string
	identity        string
	identityPattern string
	issuer          string
	issuerPattern   string
	root            string
	predicate       string
	ignoreLog       bool
}

func (v *verifyFlags) register(f *pflag.FlagSet) {
	f.StringVar(&v.bundle, "bundle", "", "`file` with the Sigstore bundle of the artifact")
	f.StringSliceVar(&v.keys, "key", nil, "`file` with a public key (PEM) that may have signed; may be given again")
	f.StringVar(&v.identity, "certificate-identity", "", "`name` that the certificate must be issued to")
	f.StringVar(&v.identityPattern, "certificate-identity-regexp", "", "`expression` that must match all of that name")
	f.StringVar(&v.issuer, "certificate-oidc-issuer", "", "`URL` of who vouches for that name")
	f.StringVar(&v.issuerPattern, "certificate-oidc-issuer-regexp", "", "`expression` that must match all of that URL")
	f.StringVar(&v.root, "trusted-root", "", "`file` trusted_root.json: certificate authorities, logs and timestamp authorities")
	f.StringVar(&v.predicate, "type", "", "`URI` of the predicate that must be stated; \"signature\": the artifact itself must be signed")
	f.BoolVar(&v.ignoreLog, "ignore-log", false, "take what is in no transparency log, although the trusted root names logs")
}

func (p *program) verifyCommand() *cobra.Command {
	out := outputFlags{}
	var v verifyFlags
	var proven provenFlags
	cmd := &cobra.Command{
		Use:   "verify FILE|DIGEST | verify --proof FILE",
		Short: "Verify who signed an artifact",
		Long: `Verify a Sigstore bundle over a file, or over what has a digest: the signature by a
key, or by a certificate issued to somebody, and all that the bundle brings along, the
entries of transparency logs and the timestamps. Nothing is trusted that is not named
here, and no network is used. The exit code is 3 when it does not verify.

With a certificate a trusted root is needed. With a key it is not; when one is given the
bundle must be in one of its logs.

Or check an answer that dossier show --proof wrote, with --proof and --trust: that its
evidence is in the transparency log, that the log is signed by a key and seen by witnesses
that the trust file names, and that the answer follows from the evidence. The store is not
needed for that. It says what is proven and by whom, and what is only claimed.`,
		Example: `  dossier verify --bundle app.sigstore.json --key cosign.pub app.tar.gz
  dossier verify --bundle app.sigstore.json --trusted-root trusted_root.json \
      --certificate-identity me@example.com --certificate-oidc-issuer https://accounts.example app.tar.gz
  dossier verify --bundle app.sigstore.json --key cosign.pub -o json sha256:0123...
  dossier verify --proof nginx.proof --trust trust.yaml`,
		Args: proven.args(oneArg("one FILE or DIGEST")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if proven.file != "" {
				return p.verifyProof(proven, out)
			}
			return p.verify(cmd.Context(), v, args[0], out)
		},
	}
	out.register(cmd.Flags())
	v.register(cmd.Flags())
	proven.register(cmd.Flags())
	return cmd
}

func (p *program) verify(_ context.Context, v verifyFlags, target string, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	if v.bundle == "" {
		return usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("no --bundle is given"), Hint: "name the file of the bundle with --bundle"}}
	}
	terms, err := v.terms()
	if err != nil {
		return err
	}
	evidence, err := readLimited(v.bundle, trust.MaxEvidence)
	if err != nil {
		return err
	}
	asked, err := askedAbout(target)
	if err != nil {
		return err
	}
	asked.Predicate = v.predicate
	return p.printDecision(trust.Decide(asked, terms, []trust.Evidence{{Form: trust.FormBundle, Bytes: evidence}}, time.Now()), out)
}

// terms reads whom to trust from the flags.
func (v *verifyFlags) terms() (trust.Terms, error) {
	var t trust.Terms
	for _, file := range v.keys {
		b, err := readLimited(file, 1<<20)
		if err != nil {
			return t, err
		}
		key, err := trust.ParseKey(b)
		if err != nil {
			return t, fmt.Errorf("%s: %w", file, err)
		}
		t.Signers = append(t.Signers, trust.Signer{Name: file, Key: &key})
	}
	if v.identity+v.identityPattern+v.issuer+v.issuerPattern != "" {
		id, err := trust.NewIdentity(v.issuer, v.issuerPattern, v.identity, v.identityPattern)
		if err != nil {
			return t, usageError{err}
		}
		t.Signers = append(t.Signers, trust.Signer{Name: "the identity", Identity: id})
	}
	if len(t.Signers) == 0 {
		return t, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("nothing says who may have signed"),
			Hint: "give --key, or --certificate-identity with --certificate-oidc-issuer"}}
	}
	if v.root != "" {
		b, err := readLimited(v.root, 16<<20)
		if err != nil {
			return t, err
		}
		if t.Root, err = trust.ParseRoot(b); err != nil {
			return t, fmt.Errorf("%s: %w", v.root, err)
		}
	}
	if v.ignoreLog {
		t.Logs = -1
	}
	return t, nil
}

// askedAbout takes a digest, or reads a file.
func askedAbout(target string) (trust.Question, error) {
	if d, err := dossier.ParseDigest(target); err == nil {
		return trust.Question{Digest: d}, nil
	}
	f, err := os.Open(target)
	if err != nil {
		return trust.Question{}, fileError("reading artifact", target, err)
	}
	defer f.Close()
	q, err := trust.AboutFile(f)
	if err != nil {
		return trust.Question{}, fileError("reading artifact", target, err)
	}
	return q, nil
}

// readLimited reads a file that is not larger than a limit.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError("reading file", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError("reading file", name, err)
	}
	if int64(len(b)) > limit {
		return nil, dossier.Errorf(dossier.KindLimit, "reading file", name, fmt.Sprintf("it has more than %d bytes", limit))
	}
	return b, nil
}

// fileError is what went wrong with a file.
func fileError(op, name string, err error) error {
	e := &dossier.Error{Kind: dossier.KindInternal, Op: op, Subject: name, Err: err}
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		e.Err = pe.Err
	}
	if errors.Is(err, os.ErrNotExist) {
		e.Kind, e.Hint = dossier.KindNotFound, "check the path"
	}
	return e
}

// printDecision prints a decision, and ends the command with 3 when it is no.
func (p *program) printDecision(d trust.Decision, out outputFlags) error {
	err := out.write(p, d, func(o render.Options) error { return render.Decision(p.stdout, d, o) })
	if err == nil && !d.Verified {
		return errFound
	}
	return err
}
