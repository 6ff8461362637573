package auditfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Each has the test binary do something with the file that it names.
const (
	fullDiskFile = "OOB_TEST_FULL_DISK_FILE"
	writtenFile  = "OOB_TEST_WRITTEN_FILE" // writes on until it is killed
)

func TestMain(m *testing.M) {
	if path := os.Getenv(fullDiskFile); path != "" {
		fillTheDisk(path)
		return
	}
	if path := os.Getenv(writtenFile); path != "" {
		writeOn(path)
	}
	os.Exit(m.Run())
}

// fillTheDisk has the system cut a line in the middle, and then makes room.
func fillTheDisk(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	room := func(bytes uint64) {
		limit.Cur = bytes
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	before := limit.Cur
	room(1500)
	f := New(path, unbounded, func(lost int64, _ error) { fmt.Print(strings.Repeat("x", int(lost))) })
	for n := range 20 {
		f.Append(object(n))
	}
	f.Close()
	room(before)
	f = New(path, unbounded, func(lost int64, _ error) { fmt.Print(strings.Repeat("x", int(lost))) })
	f.Append(object(20))
	f.Close()
}

// writeOn prints a dot for each line, from when it has begun to write the file.
func writeOn(path string) {
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := size()
	f := New(path, unbounded, func(_ int64, err error) {
		if err != nil && !errors.Is(err, errBehind) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	})
	for n := 0; ; n++ {
		f.Append(object(n))
		if size() > before {
			fmt.Print(".")
		}
	}
}

// A process that is killed while it writes leaves a chain that others go on with.
func TestChainSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for round := range 5 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env, child.Stderr = append(os.Environ(), writtenFile+"="+path), os.Stderr
		dots, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, dots, int64(300+333*round)); err != nil {
			t.Error(err)
		}
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	appendLines(t, path, 1, 1)
	content := contentOf(t, path)
	if r := verified(t, content); bytes.Count(content, []byte(`"event":"opened"`))+len(r.Resumed) < 6 {
		t.Errorf("%+v", r)
	}
}

// The second of two processes loses its lines, with an error that says why,
// and takes over when the first has ended.
func TestOneProcessPerFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		var seen, others troubles
		f, other := New(path, unbounded, seen.report), New(path, unbounded, others.report)
		f.Append(object(1))
		synctest.Wait()
		other.Append(object(2))
		other.Append(object(3))
		synctest.Wait()
		if others.lost != 2 || !strings.Contains(others.errs[0].Error(), "another process writes to it") {
			t.Errorf("%d lines lost: %v", others.lost, others.errs)
		}
		f.Close()
		time.Sleep(pause)
		other.Append(object(4))
		other.Close()
		r := verified(t, contentOf(t, path))
		if r.Lines != 4 || len(r.Resumed) != 1 || r.Resumed[0].Lost != 2 || seen.lost != 0 {
			t.Errorf("%+v, %d lines lost", r, seen.lost)
		}
	})
}

func TestNothingIsTouchedBeforeTheFirstLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := New(path, unbounded, new(troubles).report)
	f.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	f, seen := begin("/dev/full", unbounded)
	for n := range 10 {
		f.Append(object(n))
	}
	f.Close()
	if seen.lost != 10 || !errors.Is(seen.errs[0], syscall.ENOSPC) {
		t.Errorf("%d lines lost: %v", seen.lost, seen.errs)
	}
}

func TestDiskThatFillsWithinALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), fullDiskFile+"="+path), os.Stderr
	lost, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	content := contentOf(t, path)
	r := verified(t, content)
	if len(r.Resumed) != 1 || r.Resumed[0].TornBytes == 0 || len(lost) == 0 {
		t.Errorf("%+v, %d lines lost", r, len(lost))
	}
	if written := bytes.Count(content, []byte(`,"n":`)); written+len(lost) < 21 || written+len(lost) > 22 { // the torn line may be counted twice
		t.Errorf("%d lines are there and %d lost, of 21", written, len(lost))
	}
}

// The folder comes late; the chain goes on and tells how many lines are
// missing.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "log")
		path := filepath.Join(folder, "audit.jsonl")
		f, seen := begin(path, unbounded)
		f.Append(object(1))
		f.Append(object(2))
		synctest.Wait()
		if seen.lost != 2 || !errors.Is(seen.errs[1], os.ErrNotExist) {
			t.Errorf("%d lines lost: %v", seen.lost, seen.errs)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		f.Append(object(3)) // too early to try again
		time.Sleep(pause)
		f.Append(object(4))
		f.Append(object(5))
		f.Close()
		r := verified(t, contentOf(t, path))
		if r.Lines != 3 || len(r.Resumed) != 1 || r.Resumed[0].Line != 1 || r.Resumed[0].Lost != 3 || seen.lost != 3 {
			t.Errorf("%+v, %d lines lost", r, seen.lost)
		}
	})
}

// A file that is no longer under its name is noticed within a second, whether
// there are lines to write or not, and later lines are kept.
func TestFileThatIsTakenAway(t *testing.T) {
	for name, test := range map[string]struct {
		takeAway func(path string) error
		meantime int   // lines before it is noticed
		lost     int64 // as reported
	}{
		"deleted":        {os.Remove, 2, 2},
		"deleted, quiet": {os.Remove, 0, 1},
		"renamed":        {func(path string) error { return os.Rename(path, path+".1") }, 2, 2},
		"replaced": {func(path string) error {
			if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}, 1, 1},
		"kept": {func(string) error { return nil }, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				f, seen := begin(path, unbounded)
				f.Append(object(1))
				time.Sleep(2*syncInterval + pause/10) // between the ticks
				if err := test.takeAway(path); err != nil {
					t.Fatal(err)
				}
				for n := range test.meantime {
					f.Append(object(2 + n))
				}
				time.Sleep(syncInterval + time.Millisecond)
				synctest.Wait()
				if seen.lost != test.lost || test.lost > 0 && !errors.Is(seen.errs[0], errGone) {
					t.Errorf("%d lines lost: %v", seen.lost, seen.errs)
				}
				f.Append(object(9))
				f.Close()
				content := contentOf(t, path)
				r := verified(t, content)
				if !bytes.Contains(content, []byte(`"n":9,`)) || test.lost > 0 && (len(r.Resumed) != 1 || r.Resumed[0].Lost != test.lost) {
					t.Errorf("%+v in\n%s", r, content)
				}
				if seen.lost != test.lost || len(seen.errs) > 1 {
					t.Errorf("in the end %d lines lost: %v", seen.lost, seen.errs)
				}
			})
		})
	}
}

// With a disk that does not answer, requests do not wait, and what does not
// fit into the queue is told.
func TestSlowDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, seen := begin(path, unbounded)
	for n := range 10 * queueLength { // more than the pipe and the queue take
		f.Append(object(n))
	}
	if seen.lost == 0 || !errors.Is(seen.errs[0], errBehind) {
		t.Errorf("%d lines lost: %v", seen.lost, seen.errs)
	}
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var read sync.WaitGroup
	read.Go(func() { _, _ = io.Copy(io.Discard, reader) })
	f.Close()
	read.Wait()
}

func TestSyncsAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		synced := 0
		f := New(filepath.Join(t.TempDir(), "audit.jsonl"), unbounded, func(_ int64, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				synced++
			}
		})
		for n := range 100 { // over ten seconds
			f.Append(object(n))
			time.Sleep(syncInterval / 10)
		}
		time.Sleep(10 * syncInterval) // with nothing to do
		synctest.Wait()
		mu.Lock()
		if synced < 9 || synced > 11 {
			t.Errorf("synced %d times in ten seconds", synced)
		}
		mu.Unlock()
		f.Close()
	})
}
