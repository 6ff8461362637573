//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package auditfile

import (
	"errors"
	"os"
)

// lock fails: two processes would break the chain unnoticed.
func lock(*os.File) error {
	return errors.New("this system has no flock; use audit log")
}
