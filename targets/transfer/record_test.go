package transfer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// secret stands in the seeds for what no refusal may quote.
const secret = "Zx7Q-canary"

// FuzzLines reads what an operator imports, up to the keys, which encrypt vets.
// No line gets lost or moved; what is read of one is written as the same record;
// a refusal quotes nothing.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{
		`{"schema":2,"id":"one","target":"` + secret + `","encryption_key":{"kty":"EC"},"thumbprint":"t","source":"create","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}` + "\n",
		`{"schema":1,"id":"one","target":"` + secret + `","user":{"email":"` + secret + `"}}` + "\r\n\r\n" + `{"schema":1,"id":"two","state":"expired"}`,
		`{"schema":1,"id":"` + secret + `","state":"` + secret + `"}` + "\n", `{"schema":9,"later":"` + secret + `"}`, "\ufeff{}\n\x00\n\xff\n[]\nnull\n",
		`{"schema":2,"id":"one","` + secret + `":1}` + "\n" + `{"schema":2,"id":"one","created":"` + secret + `"}`, "\xff\xfe{", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		l := newLines(bytes.NewReader(input))
		texts := bytes.Split(input, []byte("\n"))
		for last := int64(0); ; {
			batch, err := l.batch()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil { // UTF-16
				if last > 0 || strings.Contains(err.Error(), secret) {
					t.Errorf("after line %d: %v", last, err)
				}
				return
			}
			for _, line := range batch {
				if line.number <= last || line.number > int64(len(texts)) {
					t.Fatalf("line %d comes after %d, of %d", line.number, last, len(texts))
				}
				if want := bytes.Trim(texts[line.number-1], " \t\r\n"); !line.tooLong && !bytes.Equal(line.text, want) {
					t.Errorf("line %d is %q, want %q", line.number, line.text, want)
				}
				for _, skipped := range texts[last : line.number-1] {
					if len(bytes.Trim(skipped, " \t\r\n")) > 0 {
						t.Errorf("%q is left out", skipped)
					}
				}
				last = line.number
				mustParseAlike(t, line)
			}
		}
		if l.bytes != int64(len(input)) {
			t.Errorf("%d bytes of %d are counted", l.bytes, len(input))
		}
	})
}

func mustParseAlike(t *testing.T, l *line) {
	t.Helper()
	r, why := parse(l)
	if why != nil {
		if strings.Contains(why.reason+why.text, secret) {
			t.Errorf("the refusal quotes the line: %s", why.text)
		}
		return
	}
	text, err := targets.Encode(&r.Target, r.Ref())
	if err != nil {
		return // check refuses it
	}
	again, why := parse(&line{text: text})
	if why != nil {
		t.Fatalf("what is exported is not imported: %s\n%s", why.text, text)
	}
	if same, err := targets.Encode(&again.Target, again.Ref()); err != nil || !bytes.Equal(same, text) {
		t.Errorf("%s becomes %s, %v", text, same, err)
	}
}
