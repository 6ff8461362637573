package shapes

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// savePause is the time between two writes of a file.
const savePause = 2 * time.Second

// Collector keeps a Set in a file. It is safe for concurrent use, and none of
// its methods but Close waits for the file.
type Collector struct {
	path string
	log  *slog.Logger
	end  chan struct{}
	done chan struct{}

	mu      sync.Mutex
	set     *Set
	changed bool
}

// Open goes on with what a file has, which need not be there. Nothing is
// written before there is something new.
func Open(path string, log *slog.Logger) (*Collector, error) {
	set, err := Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		set = NewSet()
	case err != nil:
		return nil, err
	}
	c := &Collector{path: path, log: log, set: set, end: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c, nil
}

// Passed takes in a call and its answer.
func (c *Collector) Passed(m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set.Add(m)
	c.changed = true
}

// Guessed counts the guesses by which a message was read.
func (c *Collector) Guessed(g nevisfido.Guesses) {
	for name := range g.Names() {
		c.note(NoteGuess + name)
	}
}

// Unidentified counts an answer that did not tell the id of a new target, by the
// call and the reason.
func (c *Collector) Unidentified(call, reason string) { c.note(NoteUnidentified + call + " " + reason) }

// What notes begin with.
const (
	NoteGuess        = "guess "
	NoteUnidentified = "unidentified "
)

func (c *Collector) note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set.Notes[text]++
	c.changed = true
}

func (c *Collector) run() {
	defer close(c.done)
	failed := false
	for last := false; !last; {
		select {
		case <-c.end:
			last = true
		case <-time.After(savePause):
		}
		err := c.save()
		if err != nil && !failed {
			c.log.Error("the file of shapes cannot be written; they are kept until it can be",
				slog.String("file", c.path), slog.Any("error", err))
		}
		failed = err != nil
	}
}

// save writes what is new.
func (c *Collector) save() error {
	c.mu.Lock()
	if !c.changed {
		c.mu.Unlock()
		return nil
	}
	content, err := json.MarshalIndent(c.set, "", "\t")
	c.changed = false
	c.mu.Unlock()
	if err = errors.Join(err, save(c.path, append(content, '\n'))); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed = true
	}
	return err
}

// Close writes what is new, and waits for that.
func (c *Collector) Close() {
	close(c.end)
	<-c.done
}
