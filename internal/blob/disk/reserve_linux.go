// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"os"
	"syscall"
)

// reserve makes room in a file from an offset on without making it longer. Where the file
// system cannot, nothing happens.
func reserve(f *os.File, offset, length int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE, see fallocate(2)
	var reserveErr error
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) {
			for {
				reserveErr = syscall.Fallocate(int(fd), keepSize, offset, length)
				if !errors.Is(reserveErr, syscall.EINTR) {
					return
				}
			}
		})
	}
	if errors.Is(reserveErr, syscall.EOPNOTSUPP) || errors.Is(reserveErr, syscall.ENOSYS) {
		reserveErr = nil
	}
	return errors.Join(err, reserveErr)
}
