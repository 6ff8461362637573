package auditfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

// troubles keeps what a File reports.
type troubles struct {
	mu   sync.Mutex
	lost int64
	errs []error
}

func (t *troubles) report(lost int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost += lost
	if err != nil {
		t.errs = append(t.errs, err)
	}
}

// begin makes a File that reports to what is returned as well.
func begin(path string, o Options) (*File, *troubles) {
	seen := new(troubles)
	return New(path, o, seen.report), seen
}

func object(n int) []byte {
	return fmt.Appendf(nil, `{"time":"2026-01-02T03:04:05.%03dZ","event":"dispatch","n":%d}`, n%1000, n)
}

// appendLines writes objects from one number to another, as a process does
// from its start to its end.
func appendLines(t *testing.T, path string, from, to int) {
	t.Helper()
	f, seen := begin(path, unbounded)
	for n := from; n <= to; n++ {
		f.Append(object(n))
	}
	f.Close()
	if seen.lost != 0 || len(seen.errs) != 0 {
		t.Fatalf("%d lines lost: %v", seen.lost, seen.errs)
	}
}

// newChain returns the path and content of a file with that many objects.
func newChain(t *testing.T, objects int) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	appendLines(t, path, 1, objects)
	return path, contentOf(t, path)
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// unbounded is more than a test writes.
var unbounded = Options{Size: 1 << 30, Keep: 1}

// verify reads a chain of files, the oldest first.
func verify(want Expectation, files ...[]byte) (Report, error) {
	v := NewVerifier(want)
	for _, content := range files {
		if err := v.Read(context.Background(), bytes.NewReader(content)); err != nil {
			return v.Report, err
		}
	}
	return v.Report, v.End()
}

func verified(t *testing.T, content []byte) Report {
	t.Helper()
	r, err := verify(Expectation{}, content)
	if err != nil {
		t.Fatalf("%v in\n%s", err, content)
	}
	return r
}

func linesOf(content []byte) [][]byte { return slices.Collect(bytes.Lines(content)) }

func TestFormat(t *testing.T) {
	path, content := newChain(t, 1)
	lines := linesOf(content)
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	prefix := `{"seq":1,"time":"`
	if !bytes.HasPrefix(lines[0], []byte(prefix)) || !bytes.Contains(lines[0], []byte(`"event":"opened","process":"`+process+`","prev":"`+genesis+`"`)) {
		t.Errorf("the first line is %s", lines[0])
	}
	hash := lines[0][bytes.Index(lines[0], []byte(`,"hash":"`))+9:][:64]
	body := `{"seq":2,"time":"2026-01-02T03:04:05.001Z","event":"dispatch","n":1,"prev":"` + string(hash) + `"`
	if want := body + `,"hash":"` + digest([]byte(body)) + "\"}\n"; string(lines[1]) != want {
		t.Errorf("the second line is\n%swant\n%s", lines[1], want)
	}
	if digest([]byte("abc")) != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" { // FIPS 180-4
		t.Error("the hash is not SHA-256")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

func TestVerifyReports(t *testing.T) {
	path, _ := newChain(t, 3)
	appendLines(t, path, 4, 5) // another process
	content := contentOf(t, path)
	r := verified(t, content)
	lines := linesOf(content)
	last := lines[len(lines)-1]
	if r.Lines != 7 || r.Last != "2026-01-02T03:04:05.005Z" || r.Hash != string(last[len(last)-67:][:64]) || len(r.Resumed) != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := verify(Expectation{Noted: r.Hash}, content); err != nil {
		t.Errorf("the last hash is not found: %v", err)
	}
}

// Whatever byte is changed, verification names its line.
func TestEveryChangedByteIsFound(t *testing.T) {
	_, content := newChain(t, 2)
	n := 1
	for i, b := range content {
		for _, other := range []byte{b ^ 1, b ^ 0x20, 0, '\n', ' '} {
			if other == b {
				continue
			}
			changed := bytes.Clone(content)
			changed[i] = other
			_, err := verify(Expectation{}, changed)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d ", n)) {
				t.Errorf("byte %d of line %d, %q instead of %q: %v", i, n, other, b, err)
			}
		}
		if b == '\n' {
			n++
		}
	}
}

func TestMovedLinesAreFound(t *testing.T) {
	_, content := newChain(t, 5)
	lines, others := linesOf(content), linesOf(content)
	for bytes.Equal(others[0], lines[0]) { // two of the same millisecond begin alike
		_, other := newChain(t, 5)
		others = linesOf(other)
	}
	edit := func(f func(l [][]byte) [][]byte) []byte { return bytes.Join(f(slices.Clone(lines)), nil) }
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"first taken out":  {edit(func(l [][]byte) [][]byte { return l[1:] }), "line 1 has the number 2 where 1 is next"},
		"middle taken out": {edit(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }), "line 3 has the number 4 where 3 is next"},
		"two taken out":    {edit(func(l [][]byte) [][]byte { return slices.Delete(l, 2, 4) }), "line 3 has the number 5 where 3 is next"},
		"swapped":          {edit(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }), "line 3 has the number 4 where 3 is next"},
		"repeated":         {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }), "line 4 has the number 3 where 4 is next"},
		"from another":     {edit(func(l [][]byte) [][]byte { l[3] = others[3]; return l }), "line 4 does not follow the one before it"},
		"another's start":  {edit(func(l [][]byte) [][]byte { l[0] = others[0]; return l }), "line 2 does not follow the one before it"},
		"blank line":       {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("\n")) }), "line 4 was changed or put in"},
		"text put in":      {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("{}\n")) }), "line 4 was changed or put in"},
		"blank at the end": {append(edit(slices.Clip), '\n'), "line 7 was changed or put in"},
		"text at the end":  {append(edit(slices.Clip), "x"...), "line 7 is not finished"},
		"endless line":     {append(edit(slices.Clip), make([]byte, MaxLine+1)...), "line 7 was changed or put in: it is longer"},
		"carriage returns": {bytes.ReplaceAll(content, []byte("\n"), []byte("\r\n")), "it holds no whole audit line"},
		"nothing":          {nil, "the file is empty"},
	} {
		if _, err := verify(Expectation{}, tt.content); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// Whole lines that are missing at the end show only against a noted hash;
// a part of a line shows always.
func TestTruncation(t *testing.T) {
	_, content := newChain(t, 3)
	noted := verified(t, content).Hash
	for size := 1; size < len(content); size++ {
		_, err := verify(Expectation{}, content[:size])
		if whole := content[size-1] == '\n'; whole != (err == nil) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
		_, err = verify(Expectation{Noted: noted}, content[:size])
		if err == nil {
			t.Errorf("cut to %d bytes, with the last hash noted: no error", size)
		}
	}
}

// Wherever a line was torn, the writer goes on, says so, and the chain holds.
func TestGoesOnAfterEveryTornLine(t *testing.T) {
	path, content := newChain(t, 2)
	start := bytes.LastIndexByte(content[:len(content)-1], '\n') + 1
	for size := start + 1; size < len(content); size++ {
		if err := os.WriteFile(path, content[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		appendLines(t, path, 3, 4)
		after := contentOf(t, path)
		if !bytes.HasPrefix(after, content[:size]) {
			t.Fatalf("cut to %d bytes: what was there has changed", size)
		}
		r := verified(t, after)
		if size == len(content)-1 { // only the newline is missing
			if len(r.Resumed) != 0 || r.Lines != 6 {
				t.Errorf("cut to %d bytes: %+v", size, r)
			}
			continue
		}
		if len(r.Resumed) != 1 || r.Resumed[0].Line != 4 || r.Resumed[0].TornBytes != int64(size-start) || r.Lines != 5 {
			t.Errorf("cut to %d bytes: %+v", size, r)
		}
		// What was torn is part of the chain.
		after[size-1] ^= 1
		if _, err := verify(Expectation{}, after); err == nil || !strings.Contains(err.Error(), "line 3 was changed") {
			t.Errorf("the torn line of %d bytes was changed: %v", size-start, err)
		}
	}
}

func TestGoesOnAfterTornBeginnings(t *testing.T) {
	_, content := newChain(t, 1)
	first := linesOf(content)[0]
	for name, start := range map[string]string{
		"empty":             "",
		"one byte":          "{",
		"first line":        string(first[:len(first)/2]),
		"torn twice":        string(content[:len(first)+20]) + "\n" + `{"seq":3,"ti`,
		"torn once more":    string(content[:len(first)+20]) + "\n",
		"blank line behind": string(content) + "\n",
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(start), 0o600); err != nil {
			t.Fatal(err)
		}
		appendLines(t, path, 3, 4)
		if r := verified(t, contentOf(t, path)); (len(r.Resumed) == 1) != (start != "") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestLeavesForeignFilesAlone(t *testing.T) {
	_, content := newChain(t, 1)
	for name, foreign := range map[string]string{
		"text":                    "an old note\n",
		"another JSON":            `{"level":"info"}` + "\n",
		"garbage at the end":      string(content) + strings.Repeat("x", MaxLine),
		"a chain's middle, torn":  string(linesOf(content)[1][:40]),
		"hashed, but not by this": sealText(`not JSON`),
	} {
		path := filepath.Join(t.TempDir(), "notes.txt")
		if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		f, seen := begin(path, unbounded)
		f.Append(object(1))
		f.Close()
		if seen.lost != 1 || !errors.Is(seen.errs[0], errForeign) {
			t.Errorf("%s: %d lines lost: %v", name, seen.lost, seen.errs)
		}
		if string(contentOf(t, path)) != foreign {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func sealText(body string) string { return body + hashMember + digest([]byte(body)) + "\"}\n" }

// What is written can be verified, however long it is.
func TestLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, seen := begin(path, unbounded)
	for _, size := range []int{maxObject, maxObject + 1, maxObject} {
		f.Append([]byte(`{"n":"` + strings.Repeat("x", size-len(`{"n":""}`)) + `"}`))
	}
	f.Close()
	if seen.lost != 1 || !errors.Is(seen.errs[0], errLong) {
		t.Errorf("%d lines lost: %v", seen.lost, seen.errs)
	}
	appendLines(t, path, 1, 1)
	if r := verified(t, contentOf(t, path)); r.Lines < 5 {
		t.Errorf("%+v", r)
	}
}

func TestVerificationThatCannotGoOn(t *testing.T) {
	_, content := newChain(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewVerifier(Expectation{}).Read(ctx, bytes.NewReader(content)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	broken := errors.New("broken disk")
	if err := NewVerifier(Expectation{}).Read(t.Context(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("unreadable: %v", err)
	}
}

// Many goroutines write at once, and nothing is lost that is not reported.
func TestConcurrentWriters(t *testing.T) {
	before := goleak.IgnoreCurrent()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, seen := begin(path, unbounded)
	const writers, each = 16, 200
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				f.Append(object(w*each + n))
			}
		})
	}
	group.Wait()
	f.Append(object(writers * each))
	f.Close()
	f.Close() // does no harm
	f.Append(object(0))
	content := contentOf(t, path)
	verified(t, content)
	if written := int64(bytes.Count(content, []byte(`"event":"dispatch"`))); written+seen.lost != writers*each+2 {
		t.Errorf("%d lines were written and %d lost", written, seen.lost)
	}
	if len(seen.errs) == 0 || !errors.Is(seen.errs[len(seen.errs)-1], errClosed) {
		t.Errorf("a line after the end was not refused: %v", seen.errs)
	}
	goleak.VerifyNone(t, before)
}
