package auditfile

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A checkpoint is a line with a signed note (C2SP signed-note, Ed25519) about
// the line before it, and through its hash about all others. The text of the
// note has five lines: the name of the key, the number and the hash of that
// line, the time, and the state of the writer.
type checkpoint struct {
	name  string
	link  link
	at    time.Time
	state string
}

// States of a writer. They stand in signed notes.
const (
	running = "running"
	full    = "full"  // another file goes on
	ended   = "ended" // the process writes no more
)

const (
	checkpointEvent    = "checkpoint"
	checkpointInterval = time.Minute

	// longestSilence is how far two checkpoints of one process may be apart. It
	// leaves room for a slow disk.
	longestSilence = 2 * checkpointInterval
)

func (c checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s\n%s\n", c.name, c.link.seq, c.link.hash, c.at.UTC().Format(TimeLayout), c.state)
}

func parseCheckpoint(text string) (c checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 6 || lines[5] != "" {
		return c, errors.New("it has another form")
	}
	c.name, c.link.hash, c.state = lines[0], lines[2], lines[4]
	if c.link.seq, err = strconv.ParseInt(lines[1], 10, 64); err == nil {
		c.at, err = time.Parse(TimeLayout, lines[3])
	}
	return c, err
}

// Signer signs checkpoints.
type Signer struct{ key note.Signer }

// ParseSigner reads a private key, as GenerateKey makes it. The error does not
// quote it.
func ParseSigner(text string) (*Signer, error) {
	key, err := note.NewSigner(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("it is not a private key as caddy oob audit keygen writes it")
	}
	return &Signer{key}, nil
}

// sign makes the object of a checkpoint.
func (s *Signer) sign(last link, state string) ([]byte, error) {
	c := checkpoint{s.key.Name(), last, time.Now(), state}
	signed, err := note.Sign(&note.Note{Text: c.text()}, s.key)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint of the audit file: %w", err)
	}
	e := entry{Time: c.at.UTC().Format(TimeLayout), Event: checkpointEvent, Process: process, Note: string(signed)}
	return json.Marshal(e)
}

// GenerateKey makes a pair of keys. The name tells people whose they are.
func GenerateKey(name string) (private, public string, err error) {
	private, public, err = note.GenerateKey(rand.Reader, name)
	if err == nil {
		_, err = note.NewSigner(private) // which refuses names that the former does not
	}
	if err != nil {
		return "", "", fmt.Errorf("the name %q cannot be that of a key: it takes neither spaces nor +", name)
	}
	return private, public, nil
}

// Keys are the public keys that may have signed a trail.
type Keys struct{ list note.Verifiers }

// ParseKeys reads public keys, one a line.
func ParseKeys(text []byte) (*Keys, error) {
	var list []note.Verifier
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		key, err := note.NewVerifier(string(line))
		switch {
		case bytes.HasPrefix(line, []byte("PRIVATE+KEY+")):
			return nil, errors.New("it is the private key: give the public one, which caddy oob audit keygen printed")
		case err != nil:
			return nil, errors.New("it is not a public key as caddy oob audit keygen prints it: name+hash+key")
		}
		list = append(list, key)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no public key in it")
	}
	return &Keys{note.VerifierList(list...)}, nil
}

// open returns what a checkpoint says if one of the keys has signed it.
func (k *Keys) open(signed string) (checkpoint, error) {
	n, err := note.Open([]byte(signed), k.list)
	if unknown, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		names := make([]string, 0, len(unknown.Note.UnverifiedSigs))
		for _, s := range unknown.Note.UnverifiedSigs {
			names = append(names, s.Name)
		}
		return checkpoint{}, fmt.Errorf("none of the given keys has signed it, but one of the name %q; if the key was replaced, give both public keys", names)
	}
	if err != nil {
		return checkpoint{}, errors.New("its signature is wrong")
	}
	return parseCheckpoint(n.Text)
}
