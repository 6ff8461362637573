package auditfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
)

func newKeys(t *testing.T) (*Signer, *Keys) {
	t.Helper()
	private, public, err := GenerateKey("fido-1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ParseSigner(private + "\n")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]byte(public + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return signer, keys
}

func signedBy(s *Signer) Options {
	return Options{Size: unbounded.Size, Keep: unbounded.Keep, Signer: s}
}

// signedRun writes objects with pauses between them, as a process does from its
// start to its end. Without close it is as if the process was killed.
func signedRun(t *testing.T, path string, o Options, objects int, pause time.Duration, closed bool) {
	t.Helper()
	f, seen := begin(path, o)
	for n := range objects {
		f.Append(object(n))
		time.Sleep(pause)
	}
	synctest.Wait()
	content := contentOf(t, path)
	f.Close()
	if !closed {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen.errs) != 0 {
		t.Fatal(seen.errs)
	}
}

// asOtherProcess makes the lines that follow those of another process.
func asOtherProcess(t *testing.T) {
	before := process
	process = before + "2"
	t.Cleanup(func() { process = before })
}

// Checkpoints come when the file is opened, once a minute also where nothing is
// written, and at the end.
func TestCheckpointsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		signer, keys := newKeys(t)
		signedRun(t, path, signedBy(signer), 2, 5*time.Minute+30*time.Second, true)
		r, err := verify(Expectation{Keys: keys, Until: time.Now().Add(time.Hour)}, trail(t, path)...)
		if err != nil || r.Checkpoints != 13 || !r.Ended || len(r.Gaps) != 0 || r.Unsigned != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// The note is one of C2SP's, which others can read.
func TestCheckpointIsASignedNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		signer, keys := newKeys(t)
		signedRun(t, path, signedBy(signer), 1, 0, true)
		lines := linesOf(contentOf(t, path))
		last := string(lines[len(lines)-1])
		_, text, _ := strings.Cut(last, `"note":"`)
		text, _, _ = strings.Cut(text, `"`)
		n, err := note.Open([]byte(strings.ReplaceAll(text, `\n`, "\n")), keys.list)
		if err != nil {
			t.Fatal(err)
		}
		hash, _ := unchain(bytes.TrimSuffix(lines[len(lines)-2], []byte("\n")))
		want := fmt.Sprintf("fido-1\n%d\n%s\n%s\nended\n", len(lines)-1, hash, time.Now().UTC().Format(TimeLayout))
		if n.Text != want {
			t.Errorf("the note is\n%swant\n%s", n.Text, want)
		}
	})
}

// Each full file ends with a checkpoint, so that it can be verified alone.
func TestCheckpointsHoldAcrossRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		signer, keys := newKeys(t)
		signedRun(t, path, Options{Size: 4000, Keep: 2, Signer: signer}, 100, time.Second, true)
		late := Expectation{Keys: keys, Until: time.Now().Add(time.Hour)}
		r, err := verify(late, trail(t, path)...)
		if err != nil || r.FirstSeq == 1 || len(r.Gaps) != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		all := trail(t, path)
		late.Archived = true
		for i, content := range all[:len(all)-1] {
			if _, err := verify(late, content); err != nil {
				t.Errorf("file %d alone: %v", i, err)
			}
		}
		late.Archived = false
		if _, err := verify(late, all[:len(all)-1]...); err == nil || !strings.Contains(err.Error(), "the newest one is missing") {
			t.Errorf("the newest file is missing: %v", err)
		}
	})
}

// A full file that cannot be put aside gets one checkpoint, not one for each
// attempt.
func TestFullFileDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		signer, keys := newKeys(t)
		f := New(path, Options{Size: 700, Keep: 2, Signer: signer}, new(troubles).report)
		f.Append(object(1))
		synctest.Wait()
		blocked := path + ".000000000004"
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			f.Append(object(n))
			time.Sleep(2 * pause)
			synctest.Wait()
		}
		if n := bytes.Count(contentOf(t, path), []byte(checkpointEvent)); n != 2 {
			t.Errorf("%d checkpoints, want 2", n)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		f.Append(object(21))
		f.Close()
		if r, err := verify(Expectation{Keys: keys, Until: time.Now()}, trail(t, path)...); err != nil || len(r.Resumed) != 1 || r.Resumed[0].Lost != 20 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestGaps(t *testing.T) {
	const objects, every = 3, 10 * time.Second
	for name, tt := range map[string]struct {
		closed bool
		pause  time.Duration // before another process goes on
		edit   func(lines [][]byte) [][]byte
		since  bool // the pause is over by then
		want   string
		gap    Gap
	}{
		"stopped for a day": {closed: true, pause: 24 * time.Hour, gap: Gap{Stopped: true}},
		"killed, and back":  {pause: time.Second, gap: Gap{Interrupted: true, Unsigned: objects}},
		"killed, and late":  {pause: time.Hour, want: "nobody vouches for the time from"},
		"an hour that is accepted": {pause: time.Hour, since: true, gap: Gap{
			Interrupted: true, Unsigned: objects,
		}},
		"cut before the other process": {
			closed: true, pause: time.Hour, want: "nobody vouches for the time from",
			edit: func(lines [][]byte) [][]byte { return lines[:3] },
		},
		"put in behind the end": {
			closed: true, pause: time.Second, want: "were put in after the process had ended",
			edit: func(lines [][]byte) [][]byte {
				var last entry
				hash, _ := unchain(bytes.TrimSuffix(lines[len(lines)-1], []byte("\n")))
				last.Seq = int64(len(lines))
				line, _ := link{last.Seq, hash}.chain(object(7))
				return append(lines, append(line, '\n'))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				signer, keys := newKeys(t)
				o := signedBy(signer)
				signedRun(t, path, o, objects, every, tt.closed)
				if tt.edit != nil {
					if err := os.WriteFile(path, bytes.Join(tt.edit(linesOf(contentOf(t, path))), nil), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(tt.pause)
				asOtherProcess(t)
				since := time.Now()
				signedRun(t, path, o, objects, every, true)
				want := Expectation{Keys: keys, Until: time.Now().Add(time.Hour)}
				if tt.since {
					want.Since = since.Add(time.Second)
				}
				r, err := verify(want, trail(t, path)...)
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("%v, want %q", err, tt.want)
				}
				if tt.want != "" {
					return
				}
				if len(r.Gaps) != 1 {
					t.Fatalf("%+v", r.Gaps)
				}
				got := r.Gaps[0]
				if got.From, got.To = (time.Time{}), (time.Time{}); got != tt.gap {
					t.Errorf("%+v, want %+v", got, tt.gap)
				}
			})
		})
	}
}

// Without a checkpoint for longer than a writer leaves, everything may have been
// made anew before the first.
func TestUnsignedBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		signer, keys := newKeys(t)
		signedRun(t, path, unbounded, 3, time.Minute, true)
		_, err := verify(Expectation{Keys: keys, Until: time.Now()}, trail(t, path)...)
		if err == nil || !strings.Contains(err.Error(), "there is no checkpoint") {
			t.Error(err)
		}
		signedRun(t, path, signedBy(signer), 3, time.Minute, true)
		_, err = verify(Expectation{Keys: keys, Until: time.Now()}, trail(t, path)...)
		if err == nil || !strings.Contains(err.Error(), "nobody vouches for the time from") {
			t.Error(err)
		}
	})
}

func TestKeysThatAreNone(t *testing.T) {
	private, public, err := GenerateKey("fido-1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":      "there is no public key",
		"hello": "it is not a public key",
		private: "it is the private key: give the public one",
	} {
		if _, err := ParseKeys([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "+") && text == private {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := ParseSigner(public); err == nil || strings.Contains(err.Error(), public) {
		t.Error(err)
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, _, err := GenerateKey(name); err == nil {
			t.Errorf("%q was taken for a name", name)
		}
	}
}

// Every key is asked; one that is unknown is not taken for a good one.
func TestReplacedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		first, _ := newKeys(t)
		second, keys := newKeys(t)
		signedRun(t, path, signedBy(first), 3, time.Second, true)
		signedRun(t, path, signedBy(second), 3, time.Second, true)
		if _, err := verify(Expectation{Keys: keys}, trail(t, path)...); err == nil || !strings.Contains(err.Error(), "line 2 is a checkpoint that cannot be trusted: none of the given keys") {
			t.Error(err)
		}
	})
}
