package auditfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// small has a file hold about ten lines of a test.
var small = Options{Size: 2500, Keep: 3}

// appendBounded writes objects as a process does from its start to its end.
func appendBounded(t *testing.T, path string, from, to int) *troubles {
	t.Helper()
	f, seen := begin(path, small)
	for n := from; n <= to; n++ {
		f.Append(object(n))
	}
	f.Close()
	return seen
}

// trail returns the contents of the files of a trail, the oldest first.
func trail(t *testing.T, path string) (contents [][]byte) {
	t.Helper()
	files, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(files)
	for _, file := range files {
		contents = append(contents, contentOf(t, file.Name()))
	}
	return contents
}

// However much is written, by however many processes, the disk holds no more
// than the bounds say, and what is kept is one chain.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, other := range []string{path + ".txt", path + ".1", filepath.Dir(path) + "/other.jsonl.000000000001"} {
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := 0
	for round := range 8 {
		if seen := appendBounded(t, path, 10*round, 10*round+9); seen.lost != 0 {
			t.Fatalf("round %d: %d lines lost: %v", round, seen.lost, seen.errs)
		}
		contents := trail(t, path)
		r, err := verify(Expectation{}, contents...)
		if err != nil || len(r.Resumed) != 0 {
			t.Fatalf("round %d: %v, %+v", round, err, r)
		}
		for i, content := range contents {
			if int64(len(content)) > small.Size+MaxLine || i < len(contents)-1 && int64(len(content)) < small.Size {
				t.Errorf("round %d: file %d has %d bytes", round, i, len(content))
			}
		}
		if !bytes.Contains(contents[len(contents)-1], []byte(`"event":"dispatch"`)) || len(contents) > small.Keep+1 {
			t.Errorf("round %d: there are %d files", round, len(contents))
		}
		first = int(r.FirstSeq)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 3+small.Keep+1 || first == 1 {
		t.Errorf("%d files, which begin with line %d: %v", len(entries), first, err)
	}
}

// What is done to a file, or between files, is found.
func TestChangedTrailsAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	appendBounded(t, path, 1, 25)
	files := trail(t, path)
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	cut := func(content []byte, bytes int) []byte { return content[:len(content)-bytes] }
	lines := linesOf(files[0])
	for name, tt := range map[string]struct {
		files [][]byte
		want  string // "" for none
	}{
		"whole":                  {files, ""},
		"the oldest removed":     {files[1:], "the lines 1 to "},
		"only the present":       {files[2:], "the lines 1 to "},
		"one in between missing": {[][]byte{files[0], files[2]}, "line 1 has the number"},
		"in another order":       {[][]byte{files[1], files[0], files[2]}, "line 1 has the number 1"},
		"a file cut by a line":   {[][]byte{cut(files[0], len(lines[len(lines)-1])), files[1]}, "line 1 has the number"},
		"a file cut in a line":   {[][]byte{cut(files[0], 5), files[1]}, "line 1 does not tell of the end of the file before"},
		"a beginning cut":        {[][]byte{bytes.Join(linesOf(files[1])[1:], nil)}, "line 1 has the number"},
		"present file not ended": {[][]byte{files[0], files[1], cut(files[2], 5)}, "is not finished"},
	} {
		_, err := verify(Expectation{}, tt.files...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	appendBounded(t, path, 26, 27) // the process ended between two files
	if _, err := verify(Expectation{}, trail(t, path)...); err != nil {
		t.Error(err)
	}
}

// A full file that ends with a torn line is told of in the next one.
func TestTornFullFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	appendLines(t, path, 1, 15)
	content := contentOf(t, path)
	if err := os.WriteFile(path, content[:len(content)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	appendBounded(t, path, 16, 17)
	files := trail(t, path)
	r, err := verify(Expectation{}, files...)
	if err != nil || len(files) != 2 || len(r.Resumed) != 1 || r.Resumed[0].TornBytes == 0 {
		t.Errorf("%d files, %+v, %v", len(files), r, err)
	}
	if _, err := verify(Expectation{}, files[1]); err == nil || !strings.Contains(err.Error(), "the lines 1 to 15 are missing") {
		t.Errorf("without the torn file: %v", err)
	}
}

// Where a full file cannot be put aside, nothing is written beyond the bound:
// the lines are lost, and told of when it can be.
func TestRotationThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		appendLines(t, path, 1, 15)
		size := len(contentOf(t, path))
		blocked := path + ".000000000016"
		if err := os.WriteFile(blocked, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, seen := begin(path, small)
		f.Append(object(16))
		time.Sleep(2 * pause)
		synctest.Wait()
		if after := len(contentOf(t, path)); seen.lost != 1 || after != size || string(contentOf(t, blocked)) != "another" {
			t.Errorf("%d lines lost, %d bytes more: %v", seen.lost, after-size, seen.errs)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		f.Append(object(17))
		f.Close()
		r, err := verify(Expectation{}, trail(t, path)...)
		if err != nil || len(r.Resumed) != 1 || r.Resumed[0].Lost != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestOpenNoTrail(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "audit.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
