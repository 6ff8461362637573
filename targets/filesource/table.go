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
	err := t.read()
	if err == nil {
		t.targets, t.users = sorted(t.targets), sorted(t.users)
		err = t.checkTwice()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *table) close() { _ = t.file.Close() } // it was only read

func (t *table) read() error {
	lines := bufio.NewReaderSize(t.file, maxLine)
	offset := int64(0)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		ended := errors.Is(err, io.EOF)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d: it has more than %d bytes", number, maxLine)
		case err != nil && !ended:
			return fmt.Errorf("line %d: %w", number, err)
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			r, err := parse(text)
			if err != nil {
				return fmt.Errorf("line %d: %w", number, err)
			}
			t.add(r, offset)
		}
		if ended {
			return nil
		}
		offset += int64(len(line))
	}
}

func (t *table) add(r *record, offset int64) {
	t.targets = append(t.targets, entry{t.hashOf(r.Ref()), offset})
	if r.User != nil {
		t.users = append(t.users, entry{t.hashOfUser(r.Username), offset})
	}
	if r.State() != targets.Active {
		t.inactive++
	}
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
		if first.Ref() == second.Ref() {
			return fmt.Errorf("line %d: it is a target that has been on line %d", t.line(b), t.line(a))
		}
	}
	return nil
}

// line returns the number of an entry's line, at the cost of counting.
func (t *table) line(e entry) int {
	number := counter(1)
	_, _ = io.Copy(&number, io.NewSectionReader(t.file, 0, e.offset)) // it has just been read
	return int(number)
}

// counter counts lines.
type counter int

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(bytes.Count(p, []byte("\n")))
	return len(p), nil
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

// find calls f with the records of a list that have a hash, until it returns
// false.
func (t *table) find(list []entry, hash uint64, f func(*record) bool) error {
	from, _ := slices.BinarySearchFunc(list, hash, func(e entry, hash uint64) int { return cmp.Compare(e.hash, hash) })
	for _, e := range list[from:] {
		if e.hash != hash {
			return nil
		}
		if r, err := t.at(e); err != nil || !f(r) {
			return err
		}
	}
	return nil
}

// target returns the active record of a target.
func (t *table) target(ref targets.Ref) (*targets.Target, error) {
	var found *targets.Target
	err := t.find(t.targets, t.hashOf(ref), func(r *record) bool {
		if r.Ref() == ref && r.State() == targets.Active {
			found = &r.Target
		}
		return found == nil
	})
	if err == nil && found == nil {
		err = targets.ErrNotFound
	}
	return found, err
}

// user returns what all records of a username agree on.
func (t *table) user(username string) (*targets.User, error) {
	var found *user
	agree := true
	err := t.find(t.users, t.hashOfUser(username), func(r *record) bool {
		if r.Username == username && r.User != nil {
			agree = found == nil || *found == *r.User
			found = r.User
		}
		return agree
	})
	switch {
	case err != nil:
		return nil, err
	case !agree:
		return nil, errors.New("the records of a username in the file do not agree on how to reach the user")
	case found == nil:
		return nil, targets.ErrNotFound
	}
	return &targets.User{Email: found.Email, Mobile: found.Mobile, Address: found.Address}, nil
}
