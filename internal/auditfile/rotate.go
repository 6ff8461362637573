package auditfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A full file has the number of its last line after its name, so that the order
// of the names is that of the chain.
var fullSuffix = regexp.MustCompile(`^\.\d{12}$`)

// fullFiles returns the paths of the full files, the oldest first.
func fullFiles(path string) (paths []string, err error) {
	folder, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(folder))
	for _, e := range entries { // in the order of their names
		if suffix, ok := strings.CutPrefix(e.Name(), name); ok && fullSuffix.MatchString(suffix) {
			paths = append(paths, folder+e.Name())
		}
	}
	return paths, err
}

// rotate gives the open file its name as a full one, closes it, and removes the
// oldest full files. The next line begins a file.
func (f *File) rotate() error {
	name := fmt.Sprintf("%s.%012d", f.path, f.end.last.seq)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the audit file is full, and %s is there already: move it away", name)
	}
	if err := os.Rename(f.path, name); err != nil {
		return fmt.Errorf("the audit file is full: %w", err)
	}
	f.shut()
	all, err := fullFiles(f.path)
	for len(all) > f.options.Load().Keep && err == nil {
		err = os.Remove(all[0])
		all = all[1:]
	}
	if err != nil {
		return fmt.Errorf("removing the oldest audit file: %w", err)
	}
	return nil
}

// endOfFull returns where a new file goes on: at the end of the newest full one,
// or at the beginning.
func endOfFull(path string) (ending, error) {
	all, err := fullFiles(path)
	if err != nil || len(all) == 0 {
		return ending{last: link{0, genesis}}, err
	}
	file, err := os.Open(all[len(all)-1])
	if err != nil {
		return ending{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ending{}, err
	}
	end, err := findEnd(file, info.Size())
	end.newline, end.continues, end.first = false, true, firstSeq(all[0])
	return end, err
}

// firstSeq returns the number of the first line of a full file, 0 where that
// cannot be read.
func firstSeq(path string) (seq int64) {
	file, err := os.Open(path) //nolint:gosec // a file of the trail
	if err != nil {
		return 0
	}
	defer file.Close()
	if _, err := fmt.Fscanf(file, `{"seq":%d,`, &seq); err != nil {
		return 0
	}
	return seq
}

// IsFull reports whether a path has the form of a full file's.
func IsFull(path string) bool {
	return fullSuffix.MatchString(filepath.Ext(path))
}

// Open opens the files of a trail for reading, the oldest first: the full ones,
// and the one that is written to, whose path is given. A trail may grow
// meanwhile.
func Open(path string) (files []*os.File, err error) {
	current, err := os.Open(path) //nolint:gosec // the operator names it. First, as it may be full any time
	if err != nil {
		return nil, err
	}
	defer func() {
		if files = append(files, current); err != nil {
			Close(files)
		}
	}()
	written, err := current.Stat()
	if err != nil {
		return nil, err
	}
	all, err := fullFiles(path)
	for _, full := range all {
		file, err := os.Open(full) //nolint:gosec // a file of the trail
		if err != nil {
			return files, err
		}
		if info, err := file.Stat(); err == nil && os.SameFile(info, written) {
			return files, file.Close()
		}
		files = append(files, file)
	}
	return files, err
}

// Close closes files that were opened for reading.
func Close(files []*os.File) {
	for _, file := range files {
		_ = file.Close() // nothing was written
	}
}
