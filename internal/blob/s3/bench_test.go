// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/minio/minio-go/v7"

	"dossier.dev/dossier/internal/blob"
	"dossier.dev/dossier/internal/blob/s3/s3test"
)

// BenchmarkWrite compares a blob that is written, hashed and committed with a
// plain PutObject of the same bytes, and with the upload that the client cuts
// into parts itself.
func BenchmarkWrite(b *testing.B) {
	server := s3test.Start(b)
	c := server.Bucket(b, "bench")
	client, err := server.Client()
	if err != nil {
		b.Fatal(err)
	}
	s := open(b, c)
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		bytesOf := content(1, size)
		run := func(name string, write func(key string) error) {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					key := blob.NewKey()
					if err := write(key); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := s.Delete(b.Context(), key); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
		run("blob", func(key string) error { return write(b.Context(), s, key, bytesOf, size) })
		run("suspended-once", func(key string) error { return write(b.Context(), s, key, bytesOf, size-1) })
		run("put", func(key string) error {
			_, err := client.Client.PutObject(b.Context(), "bench", "blobs/"+key, bytes.NewReader(bytesOf), int64(size),
				minio.PutObjectOptions{DisableMultipart: true})
			return err
		})
		run("put-in-parts", func(key string) error {
			_, err := client.Client.PutObject(b.Context(), "bench", "blobs/"+key, bytes.NewReader(bytesOf), int64(size),
				minio.PutObjectOptions{PartSize: 8 << 20, NumThreads: 2})
			return err
		})
	}
}
