package letter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet/sheettest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

func checkDigest(t *testing.T, pdf []byte, ticket Ticket) {
	t.Helper()
	digest := sha256.Sum256(pdf)
	if ticket.SHA256 != hex.EncodeToString(digest[:]) || ticket.Size != len(pdf) {
		t.Errorf("the ticket of %s does not fit its PDF of %d bytes", ticket.ID, len(pdf))
	}
}

func newSpool(t *testing.T, dir string) *spool {
	t.Helper()
	s, err := openSpool(dir, 1000, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sampleJob is a job of the given size.
func sampleJob(id string, size int) *job {
	pdf := bytes.Repeat([]byte(id+"\n"), size/(len(id)+1)+1)
	digest := sha256.Sum256(pdf)
	return &job{pdf: pdf, ticket: Ticket{Version: 1, ID: id, File: id + ".pdf", SHA256: hex.EncodeToString(digest[:]), Size: len(pdf)}}
}

func TestRetryMakesNoSecondLetter(t *testing.T) {
	l, dir := spooler(t, Letter{})
	deliver(t, l, message("same", nil))
	before, ticket := spooled(t, dir, "same_post")
	l.now = func() time.Time { return today.Add(time.Minute) }
	deliver(t, l, message("same", nil))
	after, again := spooled(t, dir, "same_post")
	if !bytes.Equal(before, after) || ticket != again || names(t, dir) != "same_post.json same_post.pdf" {
		t.Errorf("the letter changed, or there are more: %s", names(t, dir))
	}
}

// TestDispatchersShareAFolder: what one of them has written is not taken for
// the letter of another, and a retry is still known.
func TestDispatchersShareAFolder(t *testing.T) {
	l, dir := spooler(t, Letter{})
	addresses := map[string]string{"home": "Anna Muster|Weg 1", "office.2": "Anna Muster|Gasse 2", "office-2": "Anna Muster|Gasse 3", "office": "Anna Muster|Gasse 4"}
	for range 2 {
		for name, address := range addresses {
			m := message("same", nil)
			m.Dispatcher, m.Address = name, address
			deliver(t, l, m)
		}
	}
	if n := len(strings.Fields(names(t, dir))); n != 2*len(addresses) {
		t.Errorf("the folder holds %d files: %s", n, names(t, dir))
	}
	for name, address := range addresses {
		pdf, ticket := spooled(t, dir, "same_"+strings.ReplaceAll(name, ".", "~"))
		checkDigest(t, pdf, ticket)
		_, street, _ := strings.Cut(address, "|")
		if _, text := sheettest.Scan(t, pdf); !strings.Contains(text, street) {
			t.Errorf("the letter of %s does not go to %s: %s", name, street, text)
		}
	}
}

func TestSameLetterFromManySides(t *testing.T) {
	dir := t.TempDir()
	var spools []*spool // as of several processes: nothing shared but the folder
	for range 8 {
		spools = append(spools, newSpool(t, dir))
	}
	var wg sync.WaitGroup
	for i, s := range spools {
		wg.Go(func() {
			err := s.put(sampleJob("same", 20_000+i))
			if err != nil && dispatchers.AsError(err).Reason != reasonBusy {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	pdf, ticket := spooled(t, dir, "same")
	checkDigest(t, pdf, ticket)
	wantNames(t, dir, "same.json same.pdf")
}

func TestQuota(t *testing.T) {
	l, dir := spooler(t, Letter{MaxSpool: 3})
	var wg sync.WaitGroup
	var mu sync.Mutex
	full := 0
	for i := range 10 {
		wg.Go(func() {
			err := l.spool.put(sampleJob(fmt.Sprintf("n%d", i), 100))
			if err == nil {
				return
			}
			e := dispatchers.AsError(err)
			if e.Class != dispatchers.Temporary || e.Reason != reasonSpoolFull {
				t.Error(e)
			}
			mu.Lock()
			full++
			mu.Unlock()
		})
	}
	wg.Wait()
	if letters := strings.Count(names(t, dir), ".pdf"); letters != 3 || full != 7 || strings.Contains(names(t, dir), "tmp") {
		t.Errorf("%d letters, %d refused: %s", letters, full, names(t, dir))
	}

	taken := strings.TrimSuffix(strings.Fields(names(t, dir))[0], ".json")
	if err := l.spool.put(sampleJob(taken, 100)); err != nil {
		t.Errorf("a retry of a letter that waits: %v", err)
	}
	for _, extension := range []string{".pdf", ".json"} { // as a print shop does
		if err := os.Remove(filepath.Join(dir, taken+extension)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.spool.put(sampleJob("next", 100)); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

func TestSpoolTrouble(t *testing.T) {
	t.Run("full disk", func(t *testing.T) {
		dir := t.TempDir()
		// Writing to this file fails as on a full disk.
		if err := os.Symlink("/dev/full", filepath.Join(dir, ".a.pdf.tmp")); err != nil {
			t.Fatal(err)
		}
		wantFailure(t, newSpool(t, dir).put(sampleJob("a", 100)), dispatchers.Temporary, reasonSpoolFull)
		wantNames(t, dir, "")
		if err := newSpool(t, dir).put(sampleJob("a", 100)); err != nil {
			t.Errorf("the retry: %v", err)
		}
	})
	t.Run("not writable", func(t *testing.T) {
		s := newSpool(t, "/sys/kernel") // not for root either
		wantFailure(t, s.put(sampleJob("a", 100)), dispatchers.Broken, reasonSpool)
		wantFailure(t, s.probe(), dispatchers.Broken, reasonSpool)
	})
	t.Run("gone", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spool")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s := newSpool(t, dir)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		wantFailure(t, s.put(sampleJob("a", 100)), dispatchers.Broken, reasonSpool)
	})
	t.Run("classes", func(t *testing.T) {
		s := &spool{dir: "/spool"}
		for err, want := range map[syscall.Errno]dispatchers.Class{
			syscall.ENOSPC: dispatchers.Temporary, syscall.EDQUOT: dispatchers.Temporary, syscall.EIO: dispatchers.Temporary,
			syscall.EROFS: dispatchers.Broken, syscall.EACCES: dispatchers.Broken, syscall.EPERM: dispatchers.Broken,
			syscall.ENOENT: dispatchers.Broken, syscall.ENOTDIR: dispatchers.Broken,
		} {
			e := dispatchers.AsError(s.fail("writing to", &fs.PathError{Op: "open", Path: "/spool/x", Err: err}))
			if e.Class != want || !strings.Contains(e.Error(), "/spool") {
				t.Errorf("%v: %v", err, e)
			}
		}
	})
}

// TestUnwritableSpoolIsToldAtLoad: before the first letter is refused.
func TestUnwritableSpoolIsToldAtLoad(t *testing.T) {
	for dir, warns := range map[string]bool{"/sys/kernel": true, t.TempDir(): false} { // not writable for root either
		var log bytes.Buffer
		if _, err := openSpool(dir, 1, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(log.String(), dir); warned != warns {
			t.Errorf("%s: the log says %s", dir, &log)
		}
		if !warns { // what was tried leaves nothing
			wantNames(t, dir, "")
		}
	}
}

// TestSweep: what killed writers leave goes, once they are surely gone; nothing
// else does.
func TestSweep(t *testing.T) {
	tests := []struct {
		name, before, after string
		age                 time.Duration
	}{
		{"killed at once", ".a.json.tmp", "", time.Hour},
		{"killed in the PDF", ".a.json.tmp .a.pdf.tmp", "", time.Hour},
		{"killed between the files", ".a.json.tmp a.pdf", "", time.Hour},
		{"killed, of a dispatcher with dots", ".a_b~c.json.tmp .a_b~c.pdf.tmp a_b~c.pdf", "", time.Hour},
		{"still at it", ".a.json.tmp a.pdf", ".a.json.tmp a.pdf", time.Minute},
		{"whole letter", "a.json a.pdf", "a.json a.pdf", time.Hour},
		{"whole letter, retry killed", ".a.json.tmp a.json a.pdf", "a.json a.pdf", time.Hour},
		{"PDF of somebody else", "a.pdf b.txt .hidden .tmp .json.tmp ..json.tmp", ". .. a.pdf b.txt .hidden .tmp .json.tmp ..json.tmp", time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			then := time.Now().Add(-tt.age)
			for name := range strings.FieldsSeq(tt.before) {
				path := filepath.Join(dir, name)
				testservice.Put(t, path, []byte("x"))
				if err := os.Chtimes(path, then, then); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := newSpool(t, dir).sweep(time.Now()); err != nil {
				t.Fatal(err)
			}
			for name := range strings.FieldsSeq(tt.before) {
				_, err := os.Lstat(filepath.Join(dir, name))
				if kept := strings.Contains(" "+tt.after+" ", " "+name+" "); kept != (err == nil) {
					t.Errorf("%s: kept = %v, want %v", name, err == nil, kept)
				}
			}
		})
	}
}

const killedWriter = "LETTER_KILLED_WRITER" // the folder in the environment of the child

// TestMain is the child of TestKilledWriter when that asks for it.
func TestMain(m *testing.M) {
	dir := os.Getenv(killedWriter)
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := openSpool(dir, 1_000_000, slog.New(slog.DiscardHandler))
	for n := 0; err == nil; n++ {
		if err = s.put(sampleJob(fmt.Sprintf("p%d-%d", os.Getpid(), n), 60_000)); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKilledWriter kills a writing process many times at any moment: what has
// a ticket is whole, and of the rest nothing stays.
func TestKilledWriter(t *testing.T) {
	const kills = 60
	dir := t.TempDir()
	for range kills {
		killOnce(t, dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	letters, leftovers := 0, 0
	for _, e := range entries {
		switch id, isTicket := strings.CutSuffix(e.Name(), ".json"); {
		case isTicket:
			letters++
			pdf, ticket := spooled(t, dir, id)
			checkDigest(t, pdf, ticket)
		case strings.HasPrefix(e.Name(), "."):
			leftovers++
		}
	}
	if letters < kills {
		t.Errorf("%d letters of %d writers", letters, kills)
	}
	t.Logf("%d letters, %d leftovers", letters, leftovers)

	if _, err := newSpool(t, dir).sweep(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	left := strings.Fields(names(t, dir))
	if len(left) != 2*letters {
		t.Errorf("%d files are left of %d letters", len(left), letters)
	}
	for _, name := range left {
		if strings.HasPrefix(name, ".") {
			t.Errorf("%s is left", name)
		}
	}
}

// killOnce kills the writer at some moment after its first letter.
func killOnce(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), killedWriter+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the writer wrote nothing: %v", lines.Err())
	}
	<-time.After(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // so that Wait finds the pipe read
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer was not killed")
	}
}
