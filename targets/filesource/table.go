package filesource

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"sort"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// maxLine bounds a line: a record and its user.
const maxLine = targets.MaxRecord + 4<<10

// table knows where in an open file the records are: two sorted lists of
// hashes and offsets. Which record it is the record itself tells.
type table struct {
	file     *os.File
	seed     maphash.Seed
	targets  []entry // by reference
	users    []entry // by username, of the records with a user
	inactive int
}

type entry struct {
	hash   uint64
	offset int64
}

// readTable reads a whole file. It is an error if a line is not in order, or a
// target comes twice.
func readTable(file *os.File) (*table, error) {
	t := &table{file: file, seed: maphash.MakeSeed()}
	if err := t.read(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *table) close() { _ = t.file.Close() } // it was only read

func (t *table) read() error {
	lines := bufio.NewReaderSize(t.file, maxLine)
	var offset int64
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, lineError(err))
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if err := t.add(text, offset); err != nil {
				return fmt.Errorf("line %d: %w", number, err)
			}
		}
		if err != nil {
			break
		}
		offset += int64(len(line))
	}
	t.targets, t.users = sorted(t.targets), sorted(t.users)
	return t.checkTwice()
}

func lineError(err error) error {
	if errors.Is(err, bufio.ErrBufferFull) {
		return fmt.Errorf("it has more than %d bytes", maxLine)
	}
	return err
}

func (t *table) add(line []byte, offset int64) error {
	r, err := parse(line)
	if err != nil {
		return err
	}
	t.targets = append(t.targets, entry{t.hashOf(targets.Ref{Namespace: r.Namespace, ID: r.ID}), offset})
	if r.User != nil {
		t.users = append(t.users, entry{t.hashOfUser(r.Username), offset})
	}
	if r.State() != targets.Active {
		t.inactive++
	}
	return nil
}

// sorted also gives back what the list was grown by.
func sorted(list []entry) []entry {
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.offset, b.offset))
	})
	return slices.Clip(slices.Clone(list))
}

func (t *table) hashOf(ref targets.Ref) uint64 { return maphash.Comparable(t.seed, ref) }

func (t *table) hashOfUser(username string) uint64 { return maphash.String(t.seed, username) }

// checkTwice reads again what has the same hash, which is next to nothing.
func (t *table) checkTwice() error {
	for i := 1; i < len(t.targets); i++ {
		a, b := t.targets[i-1], t.targets[i]
		if a.hash != b.hash {
			continue
		}
		first, errA := t.at(a)
		second, errB := t.at(b)
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		if first.Namespace == second.Namespace && first.ID == second.ID {
			return fmt.Errorf("line %d: it is a target that has been on line %d", t.line(b), t.line(a))
		}
	}
	return nil
}

// line returns the number of an entry's line, at the cost of counting.
func (t *table) line(e entry) int {
	lines := bufio.NewReader(io.NewSectionReader(t.file, 0, e.offset))
	number := 1
	for {
		_, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			number++
		case !errors.Is(err, bufio.ErrBufferFull):
			return number
		}
	}
}

// at reads the record of an entry.
func (t *table) at(e entry) (*record, error) {
	line, err := bufio.NewReaderSize(io.NewSectionReader(t.file, e.offset, maxLine), maxLine).ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading a dispatch target from the file: %w", err)
	}
	r, err := parse(bytes.TrimSpace(line))
	if err != nil {
		return nil, fmt.Errorf("reading a dispatch target from the file, which has been written over: %w", err)
	}
	return r, nil
}

// all returns the entries with a hash.
func all(list []entry, hash uint64) []entry {
	from := sort.Search(len(list), func(i int) bool { return list[i].hash >= hash })
	to := from
	for to < len(list) && list[to].hash == hash {
		to++
	}
	return list[from:to]
}

// target returns the active record of a target.
func (t *table) target(ref targets.Ref) (*targets.Target, error) {
	for _, e := range all(t.targets, t.hashOf(ref)) {
		r, err := t.at(e)
		switch {
		case err != nil:
			return nil, err
		case r.Namespace == ref.Namespace && r.ID == ref.ID && r.State() == targets.Active:
			return &r.Target, nil
		}
	}
	return nil, targets.ErrNotFound
}

// user returns what all records of a username agree on.
func (t *table) user(username string) (*targets.User, error) {
	var found *user
	for _, e := range all(t.users, t.hashOfUser(username)) {
		r, err := t.at(e)
		switch {
		case err != nil:
			return nil, err
		case r.Username != username || r.User == nil:
			continue
		case found != nil && *found != *r.User:
			return nil, errors.New("the records of a username in the file do not agree on how to reach the user")
		}
		found = r.User
	}
	if found == nil {
		return nil, targets.ErrNotFound
	}
	return &targets.User{Email: found.Email, Mobile: found.Mobile, Address: found.Address}, nil
}
