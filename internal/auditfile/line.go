// Package auditfile keeps an append-only file of JSON objects, one a line, each of
// which holds the hash of the one before. A line that is changed, taken out,
// put in or moved later shows; lines that are cut off at the end do not, unless
// somebody noted the last hash elsewhere. The hashes have no key: whoever may
// write to the file can make a new chain from any line on.
//
// A line is
//
//	{"seq":7,<members>,"prev":"<hash of line 6>","hash":"<hash of line 7>"}
//
// where a hash is the SHA-256, in hexadecimal digits, of everything in the line
// before `,"hash"`. The first line has the number 1, and zeros for prev.
package auditfile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

const (
	firstLine  = `{"seq":1,`
	hashMember = `,"hash":"`
	tailLength = len(hashMember) + 2*sha256.Size + len(`"}`)
	maxLine    = 256 << 10       // bytes
	maxObject  = maxLine - 1<<10 // leaves room for what a line has in addition
)

// TimeLayout is RFC 3339 with milliseconds, for times in UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Events of the chain itself.
const (
	openedEvent  = "opened"  // a process begins to write
	resumedEvent = "resumed" // the writer goes on after lines were torn or lost
)

// genesis stands for the hash before the first line.
var genesis = strings.Repeat("0", 2*sha256.Size)

// link is a place in a chain: the number and hash of a line.
type link struct {
	seq  int64
	hash string
}

// entry is what the chain itself reads of a line.
type entry struct {
	Seq   int64  `json:"seq"`
	Time  string `json:"time"`
	Event string `json:"event"`
	Prev  string `json:"prev"`
	damage
}

// damage is what a line tells of those before it.
type damage struct {
	Torn      string `json:"torn,omitempty"` // hash of the bytes of lines that were not finished
	TornBytes int64  `json:"torn_bytes,omitempty"`
	Lost      int64  `json:"lost,omitempty"` // lines that could not be written
}

// seal makes the line of a JSON object that has members. The line ends without
// a newline.
func (l link) seal(object []byte) (line []byte, next link) {
	line = append(line, `{"seq":`...)
	line = strconv.AppendInt(line, l.seq+1, 10)
	line = append(line, ',')
	line = append(line, object[1:len(object)-1]...)
	line = append(line, `,"prev":"`...)
	line = append(line, l.hash...)
	line = append(line, '"')
	next = link{l.seq + 1, digest(line)}
	line = append(line, hashMember...)
	line = append(line, next.hash...)
	return append(line, `"}`...), next
}

// unseal returns the hash of a line, and reports whether the line is whole: as
// long and with the very bytes that its hash tells.
func unseal(line []byte) (hash string, whole bool) {
	if len(line) < tailLength {
		return "", false
	}
	body, tail := line[:len(line)-tailLength], line[len(line)-tailLength:]
	hash = digest(body)
	return hash, string(tail) == hashMember+hash+`"}`
}

// read parses a whole line.
func read(line []byte) (e entry, err error) {
	err = json.Unmarshal(line, &e)
	return e, err
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
