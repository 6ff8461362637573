package auditfile

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// FuzzVerify reads trails that somebody may have changed. testdata/trail.jsonl is
// one of two runs, with a torn line between them. No trail that begins otherwise
// holds the hash of its last line, and none but this one and its first run, after
// which the writer had ended, is signed to its end, whatever hashes are put in.
func FuzzVerify(f *testing.F) {
	genuine, public := readFile(f, "testdata/trail.jsonl"), readFile(f, "testdata/trail.pub")
	keys, err := ParseKeys(public)
	if err != nil {
		f.Fatal(err)
	}
	end, err := findEnd(bytes.NewReader(genuine), int64(len(genuine)))
	if err != nil {
		f.Fatal(err)
	}
	noted := Expectation{Noted: end.last.hash}
	signed := Expectation{Keys: keys, Until: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	signed.Since = signed.Until
	for _, want := range []Expectation{noted, signed} {
		if _, err := verify(want, genuine); err != nil {
			f.Fatal(err)
		}
	}
	add := func(content []byte, forge bool) {
		f.Add(content, forge, false)
		f.Add(content, forge, true)
	}
	add(genuine, false)
	lines := linesOf(genuine)
	firstRun := bytes.Join(lines[:5], nil)
	add(firstRun, false)
	add(bytes.Join(lines[1:], nil), false)
	add(bytes.Join(lines[:len(lines)-1], nil), false)
	add([]byte("\n{}\n"+firstLine), false)
	for _, forged := range []string{
		`{"time":"2026-01-02T03:04:05.000Z","event":"opened","process":"a"}` + "\n" + `{"time":"2026-01-02T03:04:06.000Z","event":"dispatch"}`,
		`{"time":"2026-01-02T03:04:05.000Z","event":"opened","continues":true,"first":7}`, `{"event":"resumed","torn":"00","torn_bytes":7,"lost":9}`, `{"event":"checkpoint","note":"fido-1\n1\n00\n2026-01-02T03:04:05.000Z\nended\n\n— fido-1 AAAA\n"}`,
		`{"seq":9,"prev":"","hash":""}`, `{"event":1}`,
	} {
		add([]byte(forged), true)
	}
	f.Fuzz(func(t *testing.T, content []byte, forge, asNoted bool) {
		if forge {
			content = forged(content)
		}
		if asNoted {
			if _, err := verify(noted, content); err == nil && !bytes.HasPrefix(content, genuine) {
				t.Errorf("a trail with another beginning holds the noted hash:\n%s", content)
			}
		} else if _, err := verify(signed, content); err == nil && !bytes.Equal(content, genuine) && !bytes.Equal(content, firstRun) {
			t.Errorf("another trail is signed to its end:\n%s", content)
		}
	})
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

// forged makes a chain of the objects on the lines, as anybody can who knows the
// form.
func forged(objects []byte) (chain []byte) {
	last := link{0, genesis}
	for object := range bytes.Lines(objects) {
		if object = bytes.TrimSpace(object); len(object) < 2 {
			continue
		}
		var line []byte
		line, last = last.chain(object)
		chain = append(append(chain, line...), '\n')
	}
	return chain
}

// FuzzEnd goes on with files that ended in any way. Where what is there was in
// order, it still is with what is added.
func FuzzEnd(f *testing.F) {
	genuine := readFile(f, "testdata/trail.jsonl")
	for _, cut := range []int{0, 1, 10, 100, 500} {
		f.Add(genuine[:len(genuine)-cut])
	}
	f.Add([]byte(firstLine))
	f.Add([]byte("\n"))
	f.Add([]byte("{}\n"))
	f.Add(append(bytes.Clone(genuine), "\n\ntorn"...))
	f.Fuzz(func(t *testing.T, content []byte) {
		end, err := findEnd(bytes.NewReader(content), int64(len(content)))
		if err != nil || len(content) == 0 {
			return
		}
		if end.newline {
			content = append(bytes.Clone(content), '\n')
		}
		if NewVerifier(Expectation{}).Read(t.Context(), bytes.NewReader(content)) != nil {
			return
		}
		line, _ := end.last.chain(opening(end))
		content = append(append(bytes.Clone(content), line...), '\n')
		if _, err := verify(Expectation{}, content); err != nil {
			t.Errorf("%v, in:\n%s", err, content)
		}
	})
}
