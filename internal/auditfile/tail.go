package auditfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ending is how a file ends: with a whole line, and what follows it.
type ending struct {
	last      link
	damage    damage
	newline   bool  // the file does not end with one
	continues bool  // it is the end of a full file, after which a new one goes on
	first     int64 // with continues: the number of the oldest line, 0 where that cannot be read
}

var errForeign = errors.New("it has other content than audit lines: name another file, or move this one away")

// findEnd looks for the last whole line. What follows it was torn when the
// process or the machine died, or was damaged since; both is told in the next
// line, as an end that was cut off cannot be told from one that was never
// written.
func findEnd(file io.ReaderAt, size int64) (ending, error) {
	content := make([]byte, min(size, MaxLine))
	if _, err := file.ReadAt(content, size-int64(len(content))); err != nil && !errors.Is(err, io.EOF) {
		return ending{}, fmt.Errorf("reading its end: %w", err)
	}
	end := ending{last: link{0, genesis}, newline: !bytes.HasSuffix(content, []byte("\n"))}
	for rest := content; len(rest) > 0; {
		rest = bytes.TrimSuffix(rest, []byte("\n"))
		start := bytes.LastIndexByte(rest, '\n') + 1
		if hash, whole := unchain(rest[start:]); whole {
			var e entry
			if err := json.Unmarshal(rest[start:], &e); err != nil {
				return ending{}, errForeign
			}
			end.last, end.damage = link{e.Seq, hash}, torn(bytes.TrimPrefix(content[len(rest):], []byte("\n")))
			return end, nil
		}
		rest = rest[:start]
	}
	beginning := []byte(firstLine)
	if size > MaxLine || !bytes.HasPrefix(content, beginning[:min(len(beginning), len(content))]) {
		return ending{}, errForeign
	}
	end.damage = torn(content)
	return end, nil
}

// torn describes what follows the last whole line.
func torn(content []byte) damage {
	if len(content) == 0 {
		return damage{}
	}
	return damage{Torn: digest(bytes.TrimSuffix(content, []byte("\n"))), TornBytes: int64(len(content))}
}
