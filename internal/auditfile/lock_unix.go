//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package auditfile

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps other processes from writing, until the file is closed.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process writes to it; give each process a file of its own")
	}
	return err
}
