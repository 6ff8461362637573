package auditfile

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLength  = 1024        // lines that wait for the disk
	syncInterval = time.Second // what a power cut may take
	pause        = time.Second // between attempts to open the file
	fileMode     = os.FileMode(0o600)
)

var (
	errBehind = errors.New("the disk is too slow: too many lines wait to be written")
	errLong   = errors.New("an audit line is longer than 255 KiB")
	errClosed = errors.New("the file is closed already")
	errGone   = errors.New("the audit file was deleted or replaced while it was in use; a new chain begins")
)

// process tells the lines of different processes apart.
var process = rand.Text()

// File writes a chain. Its methods may be called concurrently; they never wait
// for the disk, except for Close. The file is opened and locked for this
// process when the first line is written, so that a configuration can be
// validated beside a running server.
type File struct {
	path   string
	report func(lost int64, err error)
	lines  chan []byte
	lost   atomic.Int64 // lines that no line has told of
	done   chan struct{}

	mu     sync.RWMutex
	closed bool

	// What only the writer uses.
	file     *os.File // nil while it is not open
	end      ending
	unsynced int64
	unseen   int64     // lines since the file was last seen under its name
	retry    time.Time // when to open it again
	err      error     // why it is not
}

// New makes a File. report is called with the number of lines that were lost
// and the reason, and with nil whenever lines have reached the disk.
func New(path string, report func(lost int64, err error)) *File {
	f := &File{path: path, report: report, lines: make(chan []byte, queueLength), done: make(chan struct{})}
	go f.run()
	return f
}

// Append adds a JSON object, which has at least one member. If the disk does
// not keep up, or fails, the line is lost, and reported.
func (f *File) Append(object []byte) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.closed:
		f.lose(errClosed)
		return
	case len(object) > maxObject:
		f.lose(errLong)
		return
	}
	select {
	case f.lines <- object:
	default:
		f.lose(errBehind)
	}
}

// Close writes what waits and closes the file. Lines that are appended later
// are lost.
func (f *File) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.lines)
	}
	f.mu.Unlock()
	<-f.done
}

func (f *File) run() {
	defer close(f.done)
	ticker := time.NewTicker(syncInterval)
	defer ticker.Stop()
	for {
		select {
		case object, more := <-f.lines:
			if !more {
				f.sync()
				f.checkName()
				f.shut()
				return
			}
			if f.file == nil && time.Now().Before(f.retry) {
				f.lose(f.err)
			} else if err := f.write(object); err != nil {
				f.fail(err)
			}
		case <-ticker.C:
			f.sync()
			f.checkName()
		}
	}
}

func (f *File) lose(err error) {
	f.lost.Add(1)
	f.report(1, err)
}

// fail gives up a line and the file, whose end is unknown now, for a while.
func (f *File) fail(err error) {
	f.sync()
	f.shut()
	f.err, f.retry = err, time.Now().Add(pause)
	f.lose(err)
}

// write writes one line, after one that tells what happened before if there is
// anything to tell.
func (f *File) write(object []byte) error {
	opened := f.file == nil
	if opened {
		if err := f.open(); err != nil {
			return err
		}
	}
	lost := f.lost.Load()
	if opened || lost > 0 {
		told := f.end.damage
		told.Lost = lost
		if err := f.put(note(told)); err != nil {
			return err
		}
		f.lost.Add(-lost)
		f.end.damage = damage{}
	}
	return f.put(object)
}

// note makes the object that tells of a new beginning.
func note(d damage) []byte {
	event := openedEvent
	if d != (damage{}) {
		event = resumedEvent
	}
	object, _ := json.Marshal(struct { // cannot fail: texts and numbers
		Time    string `json:"time"`
		Event   string `json:"event"`
		Process string `json:"process"`
		damage
	}{time.Now().UTC().Format(TimeLayout), event, process, d})
	return object
}

// open opens and locks the file and finds its end.
func (f *File) open() (err error) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return fmt.Errorf("opening the audit file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close() // nothing was written
		}
	}()
	if err := lock(file); err != nil {
		return fmt.Errorf("locking the audit file %s: %w", f.path, err)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("opening the audit file: %w", err)
	}
	if f.end, err = findEnd(file, info.Size()); err != nil {
		return fmt.Errorf("continuing the audit file %s: %w", f.path, err)
	}
	f.file = file
	return nil
}

// put writes one line at once, so that a line is torn only if the process or
// the machine dies within a call of the system, or the disk is full.
func (f *File) put(object []byte) error {
	line, next := f.end.last.seal(object)
	if f.end.newline {
		line = append([]byte("\n"), line...)
	}
	if _, err := f.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing to the audit file: %w", err)
	}
	f.end.last, f.end.newline = next, false
	f.unsynced++
	f.unseen++
	return nil
}

// sync has the system write to the disk. Lines for which that fails may or may
// not be there; they are reported as lost.
func (f *File) sync() {
	if f.file == nil || f.unsynced == 0 {
		return
	}
	n := f.unsynced
	f.unsynced = 0
	if err := f.file.Sync(); err != nil {
		f.shut()
		f.report(n, fmt.Errorf("syncing the audit file: %w", err))
		return
	}
	f.report(0, nil)
}

// checkName notices that the file is no longer the one under its name, and has
// the next line open that one. At least one line is reported as lost, so that
// it shows: whoever took the file away may have kept what was in it.
func (f *File) checkName() {
	if f.file == nil {
		return
	}
	open, err := f.file.Stat()
	if err != nil {
		return // the next write or sync tells
	}
	named, err := os.Stat(f.path)
	switch {
	case err == nil && os.SameFile(open, named):
		f.unseen = 0
		return
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return // it may be there all the same
	}
	n := max(f.unseen, 1)
	f.shut()
	f.lost.Add(n)
	f.report(n, errGone)
}

// shut closes the file, which unlocks it.
func (f *File) shut() {
	if f.file != nil {
		_ = f.file.Close() // synced before, or in trouble anyway
		f.file, f.unsynced, f.unseen = nil, 0, 0
	}
}
