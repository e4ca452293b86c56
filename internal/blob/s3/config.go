// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"dossier.dev/dossier"
	"dossier.dev/dossier/internal/pattern"
)

// What Config stands for where it is zero.
const (
	DefaultEndpoint = "https://s3.amazonaws.com"
	DefaultPartSize = 8 << 20
	DefaultTries    = 5
	DefaultTimeout  = time.Minute
	DefaultTransfer = 10 * time.Minute
)

// The limits of Config.
const (
	MinPartSize = 5 << 20 // of S3
	MaxPartSize = 64 << 20
	MaxPrefix   = 512 // bytes
)

// Config says where the objects lie. The zero value of each field but Bucket is
// its default.
type Config struct {
	Bucket      string
	Prefix      string        // of the names of all objects, without a slash at the end
	Endpoint    string        // https://HOST[:PORT], or http://; without a scheme it is https
	Region      string        // empty: the place is asked
	Style       Style         // how requests name the bucket
	PartSize    int64         // bytes of a part of an upload, from MinPartSize to MaxPartSize; a blob has at most 10,000
	Tries       int           // how often a request is sent that fails for no fault of ours
	Timeout     time.Duration // of a request with all its tries
	Transfer    time.Duration // of one that carries bytes, or makes a blob of its parts
	Credentials Credentials   // empty: see Open
}

// Style says how requests name the bucket.
type Style string

// The styles.
const (
	StyleAuto Style = ""     // as the host for the clouds of Amazon, Google and Alibaba, else in the path
	StylePath Style = "path" // https://HOST/BUCKET/NAME
	StyleHost Style = "host" // https://BUCKET.HOST/NAME
)

// Credentials sign the requests. They hide themselves from fmt and slog.
type Credentials struct {
	AccessKey    string
	SecretKey    string
	SessionToken string // of temporary ones
}

// String says whether there are any.
func (c Credentials) String() string {
	if c == (Credentials{}) {
		return "none"
	}
	return "hidden"
}

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

var (
	prefixPattern = pattern.New(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
	mebibytes     = pattern.New(`^([1-9][0-9]{0,3})MiB$`)
)

// ParseURL reads s3://BUCKET[/PREFIX][?NAME=VALUE&...], as docs/spec/blobs.md
// describes it. A URL with a user or a password is refused: it would be shown
// in lists of processes. Errors are KindInvalid, name all faults, and do not
// repeat what could be a secret.
func ParseURL(raw string) (Config, error) {
	const op = "parsing the URL of the blobs"
	u, err := url.Parse(raw)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL
		}
		return Config{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: err}
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if u.Scheme != "s3" || u.Opaque != "" {
		fault("want s3://BUCKET[/PREFIX]")
	}
	if u.User != nil {
		fault("credentials do not belong there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Fragment != "" {
		fault("nothing may follow a #")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		fault("what follows the ? is not NAME=VALUE&NAME=VALUE")
	}
	for name, values := range query {
		if len(values) != 1 || values[0] == "" {
			fault("%.20q must be given once, with a value", name)
		} else if err := c.set(name, values[0]); err != nil {
			faults = append(faults, err)
		}
	}
	if err := c.Validate(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return Config{}, &dossier.Error{Kind: dossier.KindInvalid, Op: op, Err: errors.Join(faults...),
			Hint: "Write s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION."}
	}
	return c, nil
}

// set takes one parameter of a URL.
func (c *Config) set(name, value string) error {
	switch name {
	case "endpoint":
		c.Endpoint = value
	case "region":
		c.Region = value
	case "path-style":
		path, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("path-style must be true or false")
		}
		c.Style = StyleHost
		if path {
			c.Style = StylePath
		}
	case "part-size":
		match := mebibytes.FindStringSubmatch(value)
		if match == nil {
			return errors.New("part-size must be a number of MiB, such as 16MiB")
		}
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return err
		}
		c.PartSize = int64(n) << 20
	default:
		return fmt.Errorf("there is no %.20q: only endpoint, region, path-style and part-size", name)
	}
	return nil
}

// Validate returns all that is wrong with c, as one KindInvalid error.
func (c Config) Validate() error {
	var faults []error
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		faults = append(faults, fmt.Errorf("the bucket %.70q: %w", c.Bucket, err))
	}
	if c.Prefix != "" && (len(c.Prefix) > MaxPrefix || !prefixPattern.MatchString(c.Prefix)) {
		faults = append(faults, errors.New("the prefix must be words of A-Z, a-z, 0-9, '.', '_' and '-' with slashes between, 512 bytes at most"))
	}
	if _, err := c.endpoint(); err != nil {
		faults = append(faults, err)
	}
	if c.Style != StyleAuto && c.Style != StylePath && c.Style != StyleHost {
		faults = append(faults, fmt.Errorf("there is no style %.20q", c.Style))
	}
	if n := or(c.PartSize, DefaultPartSize); n < MinPartSize || n > MaxPartSize {
		faults = append(faults, errors.New("parts must have from 5 to 64 MiB"))
	}
	if c.Tries < 0 || c.Timeout < 0 || c.Transfer < 0 {
		faults = append(faults, errors.New("neither tries nor times can be negative"))
	}
	if k := c.Credentials; (k.AccessKey == "") != (k.SecretKey == "") || (k.AccessKey == "" && k.SessionToken != "") {
		faults = append(faults, errors.New("an access key and a secret key come together, a session token with both"))
	}
	if len(faults) == 0 {
		return nil
	}
	return &dossier.Error{Kind: dossier.KindInvalid, Op: "checking where the blobs lie", Err: errors.Join(faults...)}
}

// endpoint returns where requests go.
func (c Config) endpoint() (*url.URL, error) {
	raw := c.Endpoint
	switch {
	case raw == "":
		raw = DefaultEndpoint
	case !strings.Contains(raw, "://"):
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the endpoint must be https://HOST[:PORT] or http://HOST[:PORT], and nothing more")
	}
	return u, nil
}

// or returns n, or its default where it is zero.
func or[N int | int64 | time.Duration](n, zero N) N {
	if n == 0 {
		return zero
	}
	return n
}
