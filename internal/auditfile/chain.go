// Package auditfile keeps an append-only trail of JSON objects, one a line, each
// of which holds the hash of the one before, and checkpoints, which are signed.
// A line that is changed, taken out, put in or moved later shows by the hashes
// alone. They have no key: that lines were cut off at the end, or all of them
// made anew, shows by the checkpoints, which follow each other within a minute
// and tell when the writer has ended.
//
// A line is
//
//	{"seq":7,<members>,"prev":"<hash of line 6>","hash":"<hash of line 7>"}
//
// where a hash is the SHA-256, in hexadecimal digits, of everything in the line
// before `,"hash"`. The first line has the number 1, and zeros for prev. A file
// that is full gets another name, and the next one goes on with its chain.
package auditfile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const (
	firstLine  = `{"seq":1,`
	hashMember = `,"hash":"`
	tailLength = len(hashMember) + 2*sha256.Size + len(`"}`)
	maxObject  = MaxLine - 256 // leaves room for what a line has in addition
)

// MaxLine is how long a line may be, in bytes.
const MaxLine = 256 << 10

// TimeLayout is RFC 3339 with milliseconds, for times in UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Events of the chain itself.
const (
	openedEvent  = "opened"  // a process begins to write to a file
	resumedEvent = "resumed" // the writer goes on after lines were torn or lost
)

// genesis stands for the hash before the first line.
var genesis = strings.Repeat("0", 2*sha256.Size)

// link is a place in a chain: the number and hash of a line.
type link struct {
	seq  int64
	hash string
}

// entry is what the chain itself reads and writes of a line.
type entry struct {
	Seq       int64  `json:"seq,omitempty"`
	Time      string `json:"time"`
	Event     string `json:"event"`
	Process   string `json:"process,omitempty"`
	Continues bool   `json:"continues,omitempty"` // it is the first line of a file that goes on where another was full
	First     int64  `json:"first,omitempty"`     // with Continues: the number of the oldest line that was not removed by then
	Note      string `json:"note,omitempty"`      // of a checkpoint
	damage
	Prev string `json:"prev,omitempty"`
}

// damage is what a line tells of those before it.
type damage struct {
	Torn      string `json:"torn,omitempty"` // hash of the bytes of lines that were not finished
	TornBytes int64  `json:"torn_bytes,omitempty"`
	Lost      int64  `json:"lost,omitempty"` // lines that could not be written
}

// opening makes the object that tells how the chain goes on.
func opening(end ending) []byte {
	e := entry{Time: time.Now().UTC().Format(TimeLayout), Event: openedEvent, Process: process, Continues: end.continues, First: end.first, damage: end.damage}
	if end.damage != (damage{}) {
		e.Event = resumedEvent
	}
	object, _ := json.Marshal(e) // cannot fail: texts and numbers
	return object
}

// chain makes the line of a JSON object that has members. The line ends without
// a newline.
func (l link) chain(object []byte) (line []byte, next link) {
	line = make([]byte, 0, len(object)+MaxLine-maxObject)
	line = fmt.Appendf(line, `{"seq":%d,%s,"prev":"%s"`, l.seq+1, object[1:len(object)-1], l.hash)
	next = link{l.seq + 1, digest(line)}
	return fmt.Append(line, hashMember, next.hash, `"}`), next
}

// unchain returns the hash of a line, and reports whether the line is whole: as
// long and with the very bytes that its hash tells.
func unchain(line []byte) (hash string, whole bool) {
	if len(line) < tailLength {
		return "", false
	}
	body, tail := line[:len(line)-tailLength], line[len(line)-tailLength:]
	hash = digest(body)
	return hash, string(tail) == hashMember+hash+`"}`
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
