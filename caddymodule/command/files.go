package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// maxInput bounds what a command reads as a whole, in bytes.
const maxInput = 16 << 20

// openInput opens a file, or standard input where the name is "-" or missing.
// The size is 0 where it is not known.
func openInput(cmd *cobra.Command, args []string) (input io.ReadCloser, size int64, err error) {
	if len(args) == 0 || args[0] == "-" {
		if isTerminal(cmd.InOrStdin()) {
			cmd.PrintErrln("reading from the terminal; end with Ctrl-D")
		}
		return io.NopCloser(cmd.InOrStdin()), 0, nil
	}
	file, err := os.Open(args[0])
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	return file, size, nil
}

// readInput reads the same as a whole.
func readInput(cmd *cobra.Command, args []string) ([]byte, error) {
	input, _, err := openInput(cmd, args)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	content, err := io.ReadAll(io.LimitReader(input, maxInput+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxInput:
		return nil, fmt.Errorf("the input is longer than %d MiB", maxInput>>20)
	}
	return content, nil
}

// writeSecret makes a file that only its owner can read. One that is there is
// left alone: it may be the only copy of a key that is in use.
func writeSecret(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and was not touched: name another file, or move it away", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
