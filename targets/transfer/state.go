package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/go-json-experiment/json"
)

// maxState bounds the file of a state, in bytes.
const maxState = 1 << 20

const stateVersion = 1

// state is how far an import has come. It names no target.
type state struct {
	Version     int    `json:"version"`
	Destination string `json:"destination"`
	Bytes       int64  `json:"bytes"` // of the input, up to the end of a line
	SHA256      string `json:"sha256"`
	Report      Report `json:"report"`
}

// resume goes on where the state file says that an import of the same input
// ended.
func (im *Import) resume(l *lines) (*Report, error) {
	if im.State == "" {
		return new(Report), nil
	}
	s, err := readState(im.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return new(Report), nil
	case err != nil:
		return nil, fmt.Errorf("reading the state file %s: %w", im.State, err)
	case s.Destination != im.Destination:
		return nil, fmt.Errorf("the state file %s is that of an import into another store or namespace, or with another --overwrite; remove it to begin anew", im.State)
	}
	if err := l.skip(s); err != nil {
		return nil, fmt.Errorf("the state file %s: %w; give the same input, or remove the file to begin anew", im.State, err)
	}
	return &s.Report, nil
}

func readState(path string) (*state, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxState))
	if err != nil {
		return nil, err
	}
	s := new(state)
	err = json.Unmarshal(content, s, json.RejectUnknownMembers(true))
	if err != nil || s.Version != stateVersion || s.Bytes < 0 || s.Report.Lines < 0 {
		return nil, errors.New("it is not the state of an import; remove it to begin anew")
	}
	return s, nil
}

// save records that all lines read so far are done.
func (im *Import) save(l *lines, report *Report) error {
	if im.State == "" || im.DryRun {
		return nil
	}
	content, err := json.Marshal(&state{stateVersion, im.Destination, l.bytes, l.hash(), *report})
	if err != nil {
		return fmt.Errorf("encoding the state: %w", err)
	}
	err = WriteFile(im.State, func(w io.Writer) error {
		_, err := w.Write(append(content, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	return nil
}
