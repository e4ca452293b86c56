// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package notary

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/tuf/notary1"
)

const (
	gun      = "registry.example/acme/app"
	releases = data.RoleName("targets/releases")
)

// signed is a repository that Notary's code has signed, in a directory.
type signed struct {
	*testing.T
	repo    *tuf.Repo
	service *cryptoservice.CryptoService
	dir     string
	root    data.PublicKey
}

// newSigned makes keys as Docker's client does: root as a certificate that names the repository, the others plain.
func newSigned(t *testing.T, algorithm string) *signed {
	t.Helper()
	pass := func(string, string, bool, int) (string, bool, error) { return "password", false, nil }
	s := &signed{T: t, service: cryptoservice.NewCryptoService(trustmanager.NewKeyMemoryStore(pass)), dir: t.TempDir()}
	s.repo = tuf.NewRepo(s.service)
	s.root = s.certificate(data.CanonicalRootRole)
	roles := map[data.RoleName]data.BaseRole{data.CanonicalRootRole: data.NewBaseRole(data.CanonicalRootRole, 1, s.root)}
	for _, name := range []data.RoleName{data.CanonicalTargetsRole, data.CanonicalSnapshotRole, data.CanonicalTimestampRole} {
		key, err := s.service.Create(name, gun, algorithm)
		s.must(err)
		roles[name] = data.NewBaseRole(name, 1, key)
	}
	s.must(s.repo.InitRoot(roles[data.CanonicalRootRole], roles[data.CanonicalTimestampRole], roles[data.CanonicalSnapshotRole], roles[data.CanonicalTargetsRole], false))
	_, err := s.repo.InitTargets(data.CanonicalTargetsRole)
	s.must(err)
	return s
}

func (s *signed) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// certificate makes a key whose public half is a certificate that names the repository.
func (s *signed) certificate(role data.RoleName) data.PublicKey {
	s.Helper()
	private, err := utils.GenerateECDSAKey(rand.Reader)
	s.must(err)
	s.must(s.service.AddKey(role, gun, private))
	cert, err := cryptoservice.GenerateCertificate(private, gun, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	s.must(err)
	return data.NewECDSAx509PublicKey(utils.CertToPEM(cert))
}

func (s *signed) add(role data.RoleName, tag, manifest string) dossier.Digest {
	s.Helper()
	sum := sha256.Sum256([]byte(manifest))
	_, err := s.repo.AddTargets(role, data.Files{tag: {Length: int64(len(manifest)), Hashes: data.Hashes{"sha256": sum[:]}}})
	s.must(err)
	return dossier.FromBytes([]byte(manifest))
}

// write signs all and writes it as Docker keeps it.
func (s *signed) write() {
	s.Helper()
	soon := time.Now().Add(time.Hour)
	put := func(role data.RoleName, d *data.Signed, err error) {
		s.Helper()
		s.must(err)
		b, err := json.Marshal(d)
		s.must(err)
		file := filepath.Join(s.dir, filepath.FromSlash(role.String())+".json")
		s.must(os.MkdirAll(filepath.Dir(file), 0o700))
		s.must(os.WriteFile(file, b, 0o600))
	}
	d, err := s.repo.SignRoot(soon, nil)
	put(data.CanonicalRootRole, d, err)
	for role := range s.repo.Targets {
		d, err := s.repo.SignTargets(role, soon)
		put(role, d, err)
	}
	if s.repo.Snapshot == nil {
		s.must(s.repo.InitSnapshot())
		s.must(s.repo.InitTimestamp())
	}
	d, err = s.repo.SignSnapshot(soon)
	put(data.CanonicalSnapshotRole, d, err)
	d, err = s.repo.SignTimestamp(soon)
	put(data.CanonicalTimestampRole, d, err)
}

func (s *signed) read() (notary1.Collection, error) {
	return notary1.Read(s.Context(), notary1.Dir(s.dir), notary1.Options{Name: gun, Roots: []string{s.root.ID()}, Now: time.Now()})
}

// TestSignedByNotary: what Notary's own code signs, with each kind of key, is read, and the IDs of keys are those that it gives them.
func TestSignedByNotary(t *testing.T) {
	for _, algorithm := range []string{data.ECDSAKey, data.ED25519Key} {
		t.Run(algorithm, func(t *testing.T) {
			s := newSigned(t, algorithm)
			old := s.add(data.CanonicalTargetsRole, "old", "the manifest of old")
			s.add(data.CanonicalTargetsRole, "1.0", "another")
			bob := s.certificate("targets/bob")
			for _, role := range []data.RoleName{releases, "targets/bob"} {
				s.must(s.repo.UpdateDelegationKeys(role, data.KeyList{bob}, nil, 1))
				s.must(s.repo.UpdateDelegationPaths(role, []string{""}, nil, false))
			}
			one := s.add(releases, "1.0", `the manifest "<&>" of 1.0`)
			s.add("targets/bob", "1.0", `the manifest "<&>" of 1.0`)
			s.write()
			got, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Tags) != 2 || got.Tags[0].Digest != one || got.Tags[0].Role != "targets/releases" || !slices.Equal(got.Tags[0].Keys, []string{bob.ID()}) ||
				!slices.Equal(got.Tags[0].Signers, []string{"targets/bob"}) || got.Tags[1].Digest != old || got.Tags[1].Role != "targets" {
				t.Errorf("got %+v", got.Tags)
			}
			// One byte of each file.
			for _, role := range []string{"root", "targets", "snapshot", "timestamp", "targets/releases"} {
				file := filepath.Join(s.dir, role+".json")
				good, err := os.ReadFile(file)
				s.must(err)
				s.must(os.WriteFile(file, []byte(strings.Replace(string(good), `"expires":"2`, `"expires":"3`, 1)), 0o600))
				if _, err := s.read(); dossier.KindOf(err) != dossier.KindDenied {
					t.Errorf("%s with another time: %v", role, err)
				}
				s.must(os.WriteFile(file, good, 0o600))
			}
		})
	}
}

// TestCompatibility reads what releases 0.1 and 0.3 of Notary have signed, which its own tests keep: RSA keys as certificates too.
func TestCompatibility(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/theupdateframework/notary").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ release, repository, tags string }{
		{"0.1", "docker.com/notary0.1/samplerepo", "LICENSE targets"},
		{"0.3", "docker.com/notary0.3/tst", "LICENSE targets"},
	} {
		dir := filepath.Join(strings.TrimSpace(string(out)), "fixtures", "compatibility", "notary"+tt.release, "tuf", tt.repository, "metadata")
		got, err := notary1.Read(t.Context(), notary1.Dir(dir), notary1.Options{Name: tt.repository, Expired: true, Now: time.Now()})
		if err != nil {
			t.Errorf("%s: %v", tt.release, err)
			continue
		}
		var tags []string
		for _, x := range got.Tags {
			tags = append(tags, fmt.Sprint(x.Tag, " ", x.Role))
		}
		if strings.Join(tags, ", ") != tt.tags {
			t.Errorf("%s: tags are %q, %+v", tt.release, tags, got)
		}
	}
}
