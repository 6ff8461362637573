package auditfile

import (
	"crypto/rand"
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
	errGone   = errors.New("the audit file was deleted or replaced while it was in use; another one begins")
)

// process tells the lines of different processes apart.
var process = rand.Text()

// Options may change while a File is in use.
type Options struct {
	Size   int64   // of a file in bytes, after which another one begins
	Keep   int     // how many full files are kept; older ones are removed
	Signer *Signer // of checkpoints; nil for none
}

// File writes a chain. Its methods may be called concurrently; they never wait
// for the disk, except for Close. The file is opened and locked for this
// process when the first line is written, so that a configuration can be
// validated while a server runs.
type File struct {
	path    string
	options atomic.Pointer[Options]
	report  func(lost int64, err error)
	lines   chan []byte
	lost    atomic.Int64 // lines that no line has told of
	done    chan struct{}

	mu     sync.RWMutex
	closed bool

	// What only the writer uses.
	file     *os.File // nil while it is not open
	size     int64
	end      ending
	unsynced int64
	unseen   int64     // lines since the file was last seen under its name
	retry    time.Time // when to open it again
	err      error     // why it is not open
	signed   time.Time // when the last checkpoint was made
	full     link      // the last line of a file that was found full
}

// New makes a File. report is called with the number of lines that were lost
// and the reason, and with nil whenever lines have reached the disk.
func New(path string, options Options, report func(lost int64, err error)) *File {
	f := &File{path: path, report: report, lines: make(chan []byte, queueLength), done: make(chan struct{})}
	f.options.Store(&options)
	go f.run()
	return f
}

// Try reports why a file cannot be appended to. It makes the file where there is
// none.
func Try(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	return file.Close()
}

// SetOptions changes the options.
func (f *File) SetOptions(options Options) { f.options.Store(&options) }

// Append adds a JSON object, which has at least one member. If the disk does
// not keep up, or fails, the line is lost, and reported.
func (f *File) Append(object []byte) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case f.closed:
		f.lose(1, errClosed)
		return
	case len(object) > maxObject:
		f.lose(1, errLong)
		return
	}
	select {
	case f.lines <- object:
	default:
		f.lose(1, errBehind)
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
				f.checkpoint(ended)
				f.sync()
				f.checkName()
				f.shut()
				return
			}
			if f.file == nil && time.Now().Before(f.retry) {
				f.lose(1, f.err)
			} else if err := f.write(object); err != nil {
				f.fail(err)
				f.lose(1, err)
			}
		case <-ticker.C:
			if time.Since(f.signed) >= checkpointInterval {
				f.checkpoint(running)
			}
			f.sync()
			f.checkName()
		}
	}
}

// fail gives the file up for a while: its end is not known now.
func (f *File) fail(err error) {
	f.sync()
	f.shut()
	f.err, f.retry = err, time.Now().Add(pause)
}

func (f *File) lose(n int64, err error) {
	f.lost.Add(n)
	f.report(n, err)
}

// write writes one line, after one that tells what happened before if there is
// anything to tell.
func (f *File) write(object []byte) error {
	opened, err := f.ready()
	if err != nil {
		return err
	}
	told := f.end
	if told.damage.Lost = f.lost.Load(); opened || told.damage != (damage{}) {
		if err := f.put(opening(told)); err != nil {
			return err
		}
		f.lost.Add(-told.damage.Lost)
		f.end.damage, f.end.continues = damage{}, false
	}
	if opened { // at once, so that nobody can put lines between this process and the one before
		if err := f.putCheckpoint(running); err != nil {
			return err
		}
	}
	return f.put(object)
}

// checkpoint writes a checkpoint between lines.
func (f *File) checkpoint(state string) {
	if f.file == nil {
		return
	}
	if err := f.putCheckpoint(state); err != nil {
		f.fail(err)
		f.report(0, err)
	}
}

// putCheckpoint writes a checkpoint where the file has a signer.
func (f *File) putCheckpoint(state string) error {
	signer := f.options.Load().Signer
	if signer == nil {
		return nil
	}
	object, err := signer.sign(f.end.last, state)
	if err != nil {
		return err
	}
	f.signed = time.Now()
	return f.put(object)
}

// ready opens the file where it is not open, and begins another where it is
// full.
func (f *File) ready() (opened bool, err error) {
	if f.file == nil {
		opened = true
		if err := f.open(); err != nil {
			return false, err
		}
	}
	if f.size < f.options.Load().Size {
		return opened, nil
	}
	if f.full != f.end.last { // or this is one that could not be put aside before
		if err := f.putCheckpoint(full); err != nil {
			return false, err
		}
		f.full = f.end.last
	}
	f.sync()
	f.checkName()
	if f.file != nil {
		if err := f.rotate(); err != nil {
			return false, err
		}
	}
	return true, f.open()
}

// open opens and locks the file and finds its end.
func (f *File) open() (err error) {
	if f.file, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, fileMode); err != nil {
		f.file = nil
		return fmt.Errorf("opening the audit file: %w", err)
	}
	if err := lock(f.file); err != nil {
		return fmt.Errorf("locking the audit file %s: %w", f.path, err)
	}
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("opening the audit file: %w", err)
	}
	if f.size = info.Size(); f.size == 0 {
		f.end, err = endOfFull(f.path)
	} else {
		f.end, err = findEnd(f.file, f.size)
	}
	if err != nil {
		return fmt.Errorf("continuing the audit file %s: %w", f.path, err)
	}
	return nil
}

// put writes one line at once, so that a line is torn only if the process or
// the machine dies within a call of the system, or the disk is full.
func (f *File) put(object []byte) error {
	line, next := f.end.last.chain(object)
	if f.end.newline {
		line = append([]byte("\n"), line...)
	}
	n, err := f.file.Write(append(line, '\n'))
	if f.size += int64(n); err != nil {
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
		err = fmt.Errorf("syncing the audit file: %w", err)
		f.shut()
		f.report(n, err)
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
	case err == nil || errors.Is(err, os.ErrNotExist): // every other error says nothing of the file
		n := max(f.unseen, 1)
		f.shut()
		f.lose(n, errGone)
	}
}

// shut closes the file, which unlocks it.
func (f *File) shut() {
	if f.file != nil {
		_ = f.file.Close() // synced before, or in trouble already
		f.file, f.unsynced, f.unseen = nil, 0, 0
	}
}
