// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

// Package s3 keeps blobs as objects of a bucket, in any object store that speaks
// the protocol of Amazon S3: a blob is the object PREFIX/blobs/KEY.
//
// A blob that fits into one part is written by one request, larger ones by a
// multipart upload straight to their final name: nothing is ever copied or
// renamed. An upload that is suspended can go on in any other process: parts
// that have arrived stay where they are, the rest lies in the token or, when it
// is too large for that, in an object of its own, PREFIX/uploads/KEY/NAME.
//
// It promises what package blob does, and: every request is signed with the hash
// of what it carries; a request that fails for no fault of ours is sent again,
// within a number of tries and a time; when an answer to the last step of Commit
// is lost, the place is asked what came of it, by a mark that the object carries.
// A Writer has at most three buffers of Config.PartSize, 24 MiB by default;
// blobs that are smaller take less.
//
// Within a process one Writer has a key at a time. Between processes an upload is
// not locked, for S3 has no locks: when two go on with one upload, the parts of
// the one overwrite those of the other, and as the place compares each part with
// what its writer was told of it, at most one of them can commit, and what it
// commits is its own. Likewise Prune knows of writers in other processes only
// what has arrived from them: let it spare what is less than hours old.
//
// The object store must be strongly consistent, list names in order, and know
// If-None-Match on writing. One that does not know it leaves it to NewKey that a
// key is used once. When it cannot be reached until Commit has given up, a whole
// object may stay that no row of the database names; it does no harm, and whoever
// compares List with the database finds it. The package makes no buckets, sets no
// policies, and leaves encryption and versions to the bucket.
package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/blob"
)

// Where objects lie below the prefix.
const (
	blobsDir   = "blobs/"
	uploadsDir = "uploads/"
)

// Store keeps blobs in a bucket. It implements [blob.Store].
type Store struct {
	core      minio.Core
	transport *http.Transport
	bucket    string
	prefix    string // empty, or with a slash at the end
	where     string // for people
	partSize  int
	tries     int
	rest      time.Duration // after the first try; longer after each further one
	quick     time.Duration // for a request without content
	slow      time.Duration // for one with

	mu     sync.Mutex
	active map[string]bool // keys that somebody writes in this process
}

var _ blob.Store = (*Store)(nil)

// Open connects to a bucket and asks whether it is there. Without credentials in
// the configuration it looks for them as other clients of S3 do: in the variables
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or in those of
// MinIO, in ~/.aws/credentials, and at the service by which a cloud gives them to
// its pods and machines. See docs/spec/blobs.md.
// KindInvalid: see Config.Validate. KindStorage: there are no credentials, they
// are refused, or there is no such bucket. KindUnavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	const op = "opening blobs"
	if err := c.Validate(); err != nil {
		return nil, err
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, fault(op, "", err)
	}
	s := &Store{
		transport: newTransport(),
		bucket:    c.Bucket,
		where:     fmt.Sprintf("s3://%s at %s", strings.TrimSuffix(c.Bucket+"/"+c.Prefix, "/"), endpoint.Host),
		partSize:  int(or(c.PartSize, DefaultPartSize)),
		tries:     or(c.Tries, DefaultTries),
		rest:      firstPause,
		quick:     or(c.Timeout, DefaultTimeout),
		slow:      or(c.Transfer, DefaultTransfer),
		active:    map[string]bool{},
	}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	creds := chain(c.Credentials)
	if err := s.signs(ctx, creds); err != nil {
		return nil, fault(op, s.where, err)
	}
	client, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: creds, Secure: endpoint.Scheme == "https", Transport: s.transport, Region: c.Region,
		BucketLookup: lookup(c.Style), MaxRetries: 1, // retry does it, with a new body each time
	})
	if err != nil {
		return nil, fault(op, s.where, err)
	}
	s.core = *client
	if err := s.find(ctx); err != nil {
		return nil, errors.Join(fault(op, s.where, err), s.Close())
	}
	return s, nil
}

// Ready returns nil while the bucket answers. It asks once, and again until ctx
// ends. KindUnavailable, KindStorage.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.find(ctx); err != nil {
		return fault("looking at the blobs", s.where, err)
	}
	return nil
}

// newTransport returns the connections of one store.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		ExpectContinueTimeout: 10 * time.Second,
		DisableCompression:    true, // bytes are read as they were written
	}
}

// chain returns where credentials come from.
func chain(c Credentials) *credentials.Credentials {
	if c.AccessKey != "" {
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{},
		&credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// signs makes sure that there are credentials: with none every request would
// look for them again, and be refused.
func (s *Store) signs(ctx context.Context, creds *credentials.Credentials) error {
	return s.call(ctx, "looking for credentials", s.quick, func(ctx context.Context) error {
		value, err := creds.GetWithContext(&credentials.CredContext{Client: &http.Client{Transport: s.transport}, Context: ctx})
		if err == nil && value.SignerType.IsAnonymous() {
			err = &dossier.Error{Kind: dossier.KindStorage, Op: "opening blobs", Subject: s.where,
				Err:  errors.New("found no credentials in the environment, in files, or from the cloud"),
				Hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."}
		}
		return err
	})
}

// find lists one name, which shows whether the bucket is there and may be read.
func (s *Store) find(ctx context.Context) error {
	return s.call(ctx, "ListObjectsV2", s.quick, func(ctx context.Context) error {
		for info := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, MaxKeys: 1}) {
			return info.Err
		}
		return ctx.Err()
	})
}

func lookup(s Style) minio.BucketLookupType {
	switch s {
	case StylePath:
		return minio.BucketLookupPath
	case StyleHost:
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// Close closes idle connections. Writers and readers end by themselves.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// object returns the name of the object of a key.
func (s *Store) object(key string) string { return s.prefix + blobsDir + key }

// tailDir returns the beginning of the names of what a suspended upload has not
// sent as a part yet.
func (s *Store) tailDir(key string) string { return s.prefix + uploadsDir + key + "/" }

// begin checks what every method must.
func begin(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return fault(op, key, err)
	}
	return blob.CheckKey(key)
}

// claim makes the caller the only one in this process that writes a key.
func (s *Store) claim(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[key] {
		return false
	}
	s.active[key] = true
	return true
}

// release undoes claim.
func (s *Store) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, key)
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	const op = "finding blob"
	if err := begin(ctx, op, key); err != nil {
		return blob.Info{}, err
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return blob.Info{}, fault(op, key, err)
	}
	return blob.Info{Key: key, Size: info.Size, Time: info.LastModified.UTC()}, nil
}

// stat asks for the object of a key.
func (s *Store) stat(ctx context.Context, key string) (info minio.ObjectInfo, err error) {
	err = s.call(ctx, "HeadObject", s.quick, func(ctx context.Context) error {
		info, err = s.core.StatObject(ctx, s.bucket, s.object(key), minio.StatObjectOptions{})
		return err
	})
	return info, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	const op = "deleting blob"
	if err := begin(ctx, op, key); err != nil {
		return err
	}
	if err := s.remove(ctx, s.object(key)); err != nil {
		return fault(op, key, err)
	}
	return nil
}

// remove removes an object, if it is there.
func (s *Store) remove(ctx context.Context, name string) error {
	err := s.call(ctx, "DeleteObject", s.quick, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{})
	})
	if is(err, minio.NoSuchKey) {
		return nil
	}
	return err
}

// List implements [blob.Store]. It has one page of names in memory, at most 1,000.
// KindUnsupported: the object store does not list names in order.
func (s *Store) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	const op = "listing blobs"
	return func(yield func(blob.Info, error) bool) {
		last := after
		for info, err := range s.objects(ctx, s.object(""), after) {
			if err != nil {
				yield(blob.Info{}, fault(op, "", err))
				return
			}
			key := strings.TrimPrefix(info.Key, s.object(""))
			if blob.CheckKey(key) != nil {
				continue // not ours
			}
			if key <= last {
				yield(blob.Info{}, &dossier.Error{Kind: dossier.KindUnsupported, Op: op, Subject: key, Hint: hintOther,
					Err: fmt.Errorf("%s does not list names in order", s.where)})
				return
			}
			last = key
			if !yield(blob.Info{Key: key, Size: info.Size, Time: info.LastModified.UTC()}, nil) {
				return
			}
		}
	}
}

// objects yields the objects whose names begin with dir, after one. A page that
// fails is asked for again from the last name on.
func (s *Store) objects(ctx context.Context, dir, after string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		noOwner, stopped := false, false
		options := minio.ListObjectsOptions{Prefix: dir, Recursive: true, FetchOwner: &noOwner}
		if after != "" {
			options.StartAfter = dir + after
		}
		err := s.retry(ctx, "ListObjectsV2", func(ctx context.Context) error {
			for info := range s.core.ListObjectsIter(ctx, s.bucket, options) {
				if info.Err != nil {
					return info.Err
				}
				options.StartAfter = info.Key
				if stopped = !yield(info, nil); stopped {
					return nil
				}
			}
			return ctx.Err() // the client ends without a word then
		})
		if err != nil && !stopped {
			yield(minio.ObjectInfo{}, err)
		}
	}
}
