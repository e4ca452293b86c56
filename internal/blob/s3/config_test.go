// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dossier.dev/dossier"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Config{
		"s3://bucket":              {Bucket: "bucket"},
		"s3://bucket/":             {Bucket: "bucket"},
		"s3://my.bucket/a/b-c_d.e": {Bucket: "my.bucket", Prefix: "a/b-c_d.e"},
		"s3://bucket/p/?region=eu-central-1&part-size=16MiB":                 {Bucket: "bucket", Prefix: "p", Region: "eu-central-1", PartSize: 16 << 20},
		"s3://bucket?endpoint=http://127.0.0.1:7070&path-style=true":         {Bucket: "bucket", Endpoint: "http://127.0.0.1:7070", Style: StylePath},
		"s3://bucket?endpoint=https%3A%2F%2Fs3.example.org&path-style=false": {Bucket: "bucket", Endpoint: "https://s3.example.org", Style: StyleHost},
		"s3://bucket?endpoint=s3.example.org:9000":                           {Bucket: "bucket", Endpoint: "s3.example.org:9000"},
	} {
		got, err := ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for raw, says := range map[string]string{
		"":                                  "want s3://",
		"bucket":                            "want s3://",
		"https://bucket":                    "want s3://",
		"s3:bucket":                         "want s3://",
		"s3://":                             "bucket",
		"s3://B":                            "bucket",
		"s3://bucket:9000":                  "bucket",
		"s3://key:hidden@bucket":            "AWS_SECRET_ACCESS_KEY",
		"s3://key:hidden@bucket/%zz":        "invalid URL escape",
		"s3://bucket/../x":                  "prefix",
		"s3://bucket/a//b":                  "prefix",
		"s3://bucket/a b":                   "prefix",
		"s3://bucket/" + long(600):          "prefix",
		"s3://bucket#x":                     "#",
		"s3://bucket?a;b":                   "NAME=VALUE",
		"s3://bucket?secret=hidden":         `no "secret"`,
		"s3://bucket?region=":               "with a value",
		"s3://bucket?region=a&region=b":     "once",
		"s3://bucket?path-style=perhaps":    "path-style",
		"s3://bucket?part-size=8":           "MiB",
		"s3://bucket?part-size=4MiB":        "5 to 64",
		"s3://bucket?part-size=65MiB":       "5 to 64",
		"s3://bucket?endpoint=ftp://x":      "endpoint",
		"s3://bucket?endpoint=http://x/y":   "endpoint",
		"s3://bucket?endpoint=http://":      "endpoint",
		"s3://bucket?endpoint=http://a:b@x": "endpoint",
	} {
		_, err := ParseURL(raw)
		if dossier.KindOf(err) != dossier.KindInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want KindInvalid and %q", raw, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error tells the secret: %v", raw, err)
		}
	}
	_, err := ParseURL("http://x?nothing=1&part-size=1MiB")
	for _, says := range []string{"want s3://", "nothing", "5 to 64"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v: want all faults, %q among them", err, says)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

func TestValidate(t *testing.T) {
	good := Config{Bucket: "bucket"}
	for name, change := range map[string]func(*Config){
		"style":      func(c *Config) { c.Style = "virtual" },
		"tries":      func(c *Config) { c.Tries = -1 },
		"timeout":    func(c *Config) { c.Timeout = -1 },
		"transfer":   func(c *Config) { c.Transfer = -1 },
		"no secret":  func(c *Config) { c.Credentials.AccessKey = "a" },
		"only token": func(c *Config) { c.Credentials.SessionToken = "a" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); dossier.KindOf(err) != dossier.KindInvalid {
			t.Errorf("%s: %v, want KindInvalid", name, err)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestCredentialsHide(t *testing.T) {
	c := Config{Bucket: "bucket", Credentials: Credentials{AccessKey: "hush", SecretKey: "hush", SessionToken: "hush"}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("open", "config", c, "credentials", c.Credentials)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), log.String()} {
		if strings.Contains(text, "hush") {
			t.Errorf("the secret is in %s", text)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, raw := range []string{
		"s3://bucket/prefix?endpoint=http://127.0.0.1:7070&region=x&path-style=true&part-size=8MiB",
		"s3://a:b@c", "s3://bucket?%", "s3://bucket/..", "://", "s3://[::1]/",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := ParseURL(raw)
		if err != nil {
			if dossier.KindOf(err) != dossier.KindInvalid {
				t.Errorf("%q: %v has kind %q", raw, err, dossier.KindOf(err))
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%q is accepted, and is not valid: %v", raw, err)
		}
		if strings.Contains(c.Prefix, "..") && strings.Contains("/"+c.Prefix+"/", "/../") {
			t.Errorf("%q leads out of its prefix: %q", raw, c.Prefix)
		}
	})
}

// TestSpec compares docs/spec/blobs.md with the code: its examples and limits.
func TestSpec(t *testing.T) {
	b, err := os.ReadFile("../../../docs/spec/blobs.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for line := range strings.Lines(string(b)) {
		if example, ok := strings.CutPrefix(line, "    s3://"); ok && !strings.Contains(line, "BUCKET") {
			examples++
			if _, err := ParseURL("s3://" + strings.TrimSpace(example)); err != nil {
				t.Errorf("%s: %v", example, err)
			}
		}
	}
	if examples == 0 {
		t.Error("found no examples")
	}
	gib := func(partSize int64) int64 { return maxParts * partSize >> 30 }
	for _, want := range []string{
		fmt.Sprintf("from `%dMiB` to `%dMiB` | `%dMiB`", MinPartSize>>20, MaxPartSize>>20, DefaultPartSize>>20),
		fmt.Sprintf("at most %d bytes", MaxPrefix),
		fmt.Sprintf("%d GiB at %d MiB each, %d GiB at %d MiB", gib(DefaultPartSize), DefaultPartSize>>20, gib(MaxPartSize), MaxPartSize>>20),
		"up to three\nparts of memory", "up to\nfive times", "at most a minute; ten minutes", "`" + markHeader + "`", "`PREFIX/" + blobsDir + "KEY`", "`PREFIX/" + uploadsDir + "KEY/NAME`",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the specification does not have %q", want)
		}
	}
	if inFlight+1 != 3 || DefaultTries != 5 || DefaultTimeout != time.Minute || DefaultTransfer != 10*time.Minute {
		t.Error("the specification has other limits")
	}
}
