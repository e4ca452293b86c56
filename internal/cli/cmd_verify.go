// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/render"
	"dossier.dev/dossier/internal/server"
	"dossier.dev/dossier/internal/trust"
)

// verifyFlags say who may have signed, and by which infrastructure.
type verifyFlags struct {
	policy          string
	bundle          string
	keys            []string
	identity        string
	identityPattern string
	issuer          string
	issuerPattern   string
	root            string
	predicate       string
	ignoreLog       bool
	lookaside       string
	pinAgain        bool
}

func (v *verifyFlags) register(f *pflag.FlagSet) {
	f.StringVar(&v.bundle, "bundle", "", "`file` with the Sigstore bundle of the artifact, or a DSSE envelope")
	f.StringSliceVar(&v.keys, "key", nil, "`file` with a public key (PEM or OpenPGP) that may have signed; may be given again")
	f.StringVar(&v.identity, "certificate-identity", "", "`name` that the certificate must be issued to")
	f.StringVar(&v.identityPattern, "certificate-identity-regexp", "", "`expression` that must match all of that name")
	f.StringVar(&v.issuer, "certificate-oidc-issuer", "", "`URL` of who vouches for that name")
	f.StringVar(&v.issuerPattern, "certificate-oidc-issuer-regexp", "", "`expression` that must match all of that URL")
	f.StringVar(&v.root, "trusted-root", "", "`file` trusted_root.json: certificate authorities, logs and timestamp authorities")
	f.StringVar(&v.predicate, "type", "", "`URI` of the predicate that must be stated; \"signature\": the artifact itself must be signed")
	f.StringVar(&v.lookaside, "lookaside", "", "`URL` (file, http, https) below which signatures by OpenPGP lie")
	f.BoolVar(&v.pinAgain, "pin-again", false, "with --trust: pin whoever signed also where dossier trust unpin took back that very pin")
	f.BoolVar(&v.ignoreLog, "ignore-log", false, "take what is in no transparency log, although the trusted root names logs")
}

func (p *program) verifyCommand() *cobra.Command {
	out := outputFlags{more: []string{formatSummary}}
	var v verifyFlags
	var proven provenFlags
	var summary summaryFlags
	var tag freshFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE|FILE|DIGEST | verify --proof FILE",
		Short: "Verify who signed an image or an artifact",
		Long: `Verify who signed an image: by the Sigstore bundles, the cosign signatures and those of
notation that lie beside it in its registry, or by OpenPGP signatures as skopeo and podman
make them. Or with --bundle a file, or what has a digest. It looks at the signature, by a
key or by a certificate issued to somebody, and at all that comes with it: entries of
transparency logs, timestamps. Nothing is trusted that is not named here or in the trust
policy, and notation's certificates only there. The exit code is 3 when it does not verify.

With a certificate a trusted root is needed. With a key it is not; when one is given the
signature must be in one of its logs. Without --type the image itself must be signed; a
statement about it is another thing.

With --fresh the tag itself must be signed to mean this image (docs/spec/tuf.md), no longer
ago than that: signatures say who made an image, and a registry can go on giving an old
one. Who may have signed need not be named then; when it is, both must verify.

Or check an answer that dossier show --proof wrote, with --proof and --trust: that its
evidence is in the transparency log, that the log is signed by a key and seen by witnesses
that the trust file names, and that the answer follows from the evidence. The store is not
needed for that. It says what is proven and by whom, and what is only claimed. With --feed the
packages in the proof are compared again with the advisories that it names by their digests: that
no vulnerability was left out, or made up, is then proven as well.

-o vsa writes what came of it for other verifiers: a verification summary of SLSA, signed as
a DSSE envelope by the key of --sign-with.`,
		Example: `  dossier verify --trust trust.yaml registry.example/shop/api:1.4
  dossier verify --key cosign.pub registry.example/shop/api:1.4
  dossier verify --key cosign.pub --type https://slsa.dev/provenance/v1 registry.example/shop/api:1.4
  dossier verify --bundle app.sigstore.json --key cosign.pub app.tar.gz
  dossier verify --bundle app.sigstore.json --trusted-root trusted_root.json \
      --certificate-identity me@example.com --certificate-oidc-issuer https://accounts.example app.tar.gz
  dossier verify --trust trust.yaml --fresh 24h registry.example/shop/api:1.4
  dossier verify --proof nginx.proof --trust trust.yaml
  dossier verify --proof nginx.proof --trust trust.yaml --feed all.zip
  dossier verify --trust trust.yaml -o vsa --sign-with verifier.key registry.example/shop/api:1.4`,
		Args: proven.args(oneArg("one IMAGE, FILE or DIGEST")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if err := summary.check(out, tag.fresh != ""); err != nil {
				return err
			}
			if proven.file != "" {
				return p.verifyProof(cmd.Context(), proven, summary, out)
			}
			v.policy = proven.trust
			if tag.fresh != "" {
				return p.verifyFresh(cmd.Context(), v, tag, args[0], out)
			}
			d, err := p.verify(cmd.Context(), v, args[0])
			if err != nil {
				return err
			}
			if out.format == formatSummary {
				return summary.print(p, summaryOf(d))
			}
			return p.printDecision(d, out)
		},
	}
	out.register(cmd.Flags())
	v.register(cmd.Flags())
	proven.register(cmd.Flags())
	summary.register(cmd.Flags())
	tag.register(cmd.Flags())
	return cmd
}

func (p *program) verify(ctx context.Context, v verifyFlags, target string) (trust.Decision, error) {
	if v.bundle != "" {
		return v.verifyArtifact(target)
	}
	how, err := v.verification()
	if err != nil {
		return trust.Decision{}, err
	}
	var d trust.Decision
	err = p.withEngine(ctx, func(e *server.Engine) error {
		d, err = e.VerifyImage(ctx, target, how)
		return err
	})
	return d, err
}

// withEngine runs f with an engine in this process.
func (p *program) withEngine(ctx context.Context, f func(*server.Engine) error) error {
	if p.global.server != "" {
		return usageError{dossier.Errorf(dossier.KindUnsupported, "reading flag", "--server", "signatures are read and made where the command runs: call it without a server")}
	}
	e, err := p.engine(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close())
}

// verifyArtifact verifies a bundle over a file, or over what has a digest.
func (v *verifyFlags) verifyArtifact(target string) (trust.Decision, error) {
	if v.policy != "" {
		return trust.Decision{}, usageError{dossier.Errorf(dossier.KindUnsupported, "reading flag", "--trust", "a policy is about images: name the key or the identity")}
	}
	terms, err := v.terms()
	if err != nil {
		return trust.Decision{}, err
	}
	evidence, err := readLimited(v.bundle, trust.MaxEvidence)
	if err != nil {
		return trust.Decision{}, err
	}
	asked, err := askedAbout(target)
	if err != nil {
		return trust.Decision{}, err
	}
	asked.Predicate = v.predicate
	return trust.Decide(asked, terms, []trust.Evidence{{Form: formOf(evidence), Bytes: evidence}}, time.Now()), nil
}

// verification decides about images by the policy, or by the other flags.
func (v *verifyFlags) verification() (server.Verification, error) {
	if v.policy != "" {
		policy, err := server.ReadTrust(v.policy)
		if err != nil {
			return server.Verification{}, err
		}
		return server.Verification{Judge: policy.Decide, Lookaside: policy.Lookaside, PinAgain: v.pinAgain}, nil
	}
	terms, err := v.terms()
	if err != nil {
		return server.Verification{}, err
	}
	judge := func(ref dossier.Reference, digest dossier.Digest, evidence []trust.Evidence, _ *dossier.SignerPin, at time.Time) trust.Decision {
		q := trust.Question{Digest: digest, Reference: ref.String(), Predicate: cmp.Or(v.predicate, trust.SignatureOnly)}
		return trust.Decide(q, terms, evidence, at)
	}
	return server.Verification{Judge: judge, Lookaside: func(dossier.Reference) string { return v.lookaside }}, nil
}

// terms reads whom to trust from the flags.
func (v *verifyFlags) terms() (trust.Terms, error) {
	var t trust.Terms
	believed := sha256.New() // all that was named, so that a decision says what it was made by
	for _, file := range v.keys {
		b, err := readLimited(file, 1<<20)
		if err != nil {
			return t, err
		}
		fmt.Fprintf(believed, "key %d\n%s", len(b), b)
		signer, err := trust.ParseSigner(file, b)
		if err != nil {
			return t, fmt.Errorf("%s: %w", file, err)
		}
		t.Signers = append(t.Signers, signer)
	}
	if v.identity+v.identityPattern+v.issuer+v.issuerPattern != "" {
		id, err := trust.NewIdentity(v.issuer, v.issuerPattern, v.identity, v.identityPattern)
		if err != nil {
			return t, usageError{err}
		}
		t.Signers = append(t.Signers, trust.Signer{Name: "the identity", Identity: id})
		fmt.Fprintf(believed, "identity %q %q %q %q\n", v.issuer, v.issuerPattern, v.identity, v.identityPattern)
	}
	if len(t.Signers) == 0 {
		return t, usageError{&dossier.Error{Kind: dossier.KindInvalid, Op: "reading flags", Err: errors.New("nothing says who may have signed"),
			Hint: "give --trust, --key, or --certificate-identity with --certificate-oidc-issuer"}}
	}
	if v.root != "" {
		b, err := readLimited(v.root, 16<<20)
		if err != nil {
			return t, err
		}
		if t.Root, err = trust.ParseRoot(b); err != nil {
			return t, fmt.Errorf("%s: %w", v.root, err)
		}
		fmt.Fprintf(believed, "root %d\n%s", len(b), b)
	}
	if v.ignoreLog {
		t.Logs = -1
		fmt.Fprintln(believed, "without logs")
	}
	t.Trust = dossier.FromHash(dossier.SHA256, believed)
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
