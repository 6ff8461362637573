package letter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Ticket is the job ticket of a letter, a JSON file next to the PDF. It holds
// neither the address nor anything of the message.
type Ticket struct {
	// Version of this form: 1
	Version int `json:"version"`

	// The name of the letter's files without extension: the same for every
	// attempt of one dispatcher in one exchange, different for every other.
	// It ends in _ and the name of the dispatcher
	ID string `json:"id"`

	Operation nevisfido.Operation `json:"operation"`

	// The language of the text, a tag of RFC 5646
	Language string `json:"language"`

	// The time of writing (RFC 3339, UTC)
	Created time.Time `json:"created"`

	// When the token dies; a letter that cannot arrive before is not worth
	// sending (RFC 3339, UTC)
	Expires time.Time `json:"expires"`

	// The name of the PDF in the same folder
	File string `json:"file"`

	// The SHA-256 digest of the PDF in hexadecimal, and its size in bytes
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`

	Pages int `json:"pages"`

	// The side of the envelope's window: right or left
	Window string `json:"window"`
}

// spool is a folder that a print shop takes letters from.
//
// A letter is written under hidden names and renamed, the PDF first. The
// hidden ticket is made before everything else and becomes the ticket at the
// very end: as long as it is there nobody else writes this letter, and it
// tells what a killed writer has left.
type spool struct {
	dir string
	max int
	mu  sync.Mutex // so that max holds
}

// abandoned is the age of a hidden ticket whose writer is gone: writing takes
// well below a second.
const abandoned = 10 * time.Minute

// openSpool also warns of a folder that no letter can be written to at present.
func openSpool(dir string, maxLetters int, logger *slog.Logger) (*spool, error) {
	info, err := os.Stat(dir) //nolint:gosec // the operator names the folder
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder %s does not exist; create it", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder", dir)
	case info.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("every user of this machine may write to %s; run chmod o-w on it", dir)
	}
	s := &spool{dir: dir, max: maxLetters}
	if err := s.probe(); err != nil {
		logger.Warn("letters cannot be written to the spool folder: let the server's user write there", slog.Any("error", err))
	}
	return s, nil
}

// files are the paths of one letter.
type files struct{ pdf, ticket, hiddenPDF, hiddenTicket string }

func (s *spool) files(id string) files {
	path := filepath.Join(s.dir, id)
	hidden := filepath.Join(s.dir, "."+id)
	return files{path + ".pdf", path + ".json", hidden + ".pdf.tmp", hidden + ".json.tmp"}
}

// put writes the letter, or none of it. A letter whose ticket is there is not
// written again.
func (s *spool) put(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, err := s.sweep(time.Now())
	if err != nil {
		return s.fail("looking into", err)
	}
	f := s.files(j.ticket.ID)
	ticket, err := json.Marshal(j.ticket)
	if err == nil {
		err = create(f.hiddenTicket, os.O_EXCL, append(ticket, '\n'))
	}
	if errors.Is(err, fs.ErrExist) {
		return dispatchers.Fail(dispatchers.Temporary, reasonBusy, "the same letter is being written at this moment")
	}
	if err != nil {
		return s.fail("writing to", err)
	}
	if _, err := os.Lstat(f.ticket); err == nil {
		remove(f.hiddenTicket)
		return nil
	}
	if waiting >= s.max {
		remove(f.hiddenTicket)
		return dispatchers.Fail(dispatchers.Temporary, reasonSpoolFull, "%d letters wait in %s, which is max_spool", waiting, s.dir)
	}
	if err := s.publish(f, j.pdf); err != nil {
		remove(f.pdf, f.hiddenPDF, f.hiddenTicket)
		return s.fail("writing to", err)
	}
	if err := syncFolder(s.dir); err != nil {
		return dispatchers.Fail(dispatchers.Refused, reasonUncertain,
			"the letter is in %s, but may not outlast a crash of the machine: %w", s.dir, err)
	}
	return nil
}

// publish writes the PDF, and shows first that and then the ticket.
func (s *spool) publish(f files, pdf []byte) error {
	if err := create(f.hiddenPDF, os.O_TRUNC, pdf); err != nil {
		return err
	}
	if err := os.Rename(f.hiddenPDF, f.pdf); err != nil {
		return err
	}
	if err := syncFolder(s.dir); err != nil {
		return err
	}
	return os.Rename(f.hiddenTicket, f.ticket)
}

// create makes a file whose content is on the disk, or none. The flag says what to
// do if it is there already.
func create(path string, flag int, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o600) //nolint:gosec // in the operator's folder
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		remove(path)
	}
	return err
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// remove removes files, as far as they are there. What it cannot remove is for
// the next sweep.
func remove(paths ...string) {
	for _, path := range paths {
		_ = os.Remove(path)
	}
}

// sweep removes what killed writers have left, and counts the letters that
// wait.
func (s *spool) sweep(now time.Time) (waiting int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		name, hidden := strings.CutPrefix(e.Name(), ".")
		if !hidden {
			if strings.HasSuffix(name, ".json") {
				waiting++
			}
			continue
		}
		id, ours := strings.CutSuffix(name, ".json.tmp")
		info, err := e.Info()
		if !ours || !dispatchers.ValidDeliveryID(id) || err != nil || now.Sub(info.ModTime()) <= abandoned {
			continue
		}
		f := s.files(id)
		if _, err := os.Lstat(f.ticket); errors.Is(err, fs.ErrNotExist) {
			remove(f.pdf)
		}
		remove(f.hiddenPDF, f.hiddenTicket) // the hidden ticket last: it tells of the rest
	}
	return waiting, nil
}

// probe proves that files can be written.
func (s *spool) probe() error {
	path := filepath.Join(s.dir, ".probe.tmp")
	defer remove(path)
	if err := create(path, os.O_TRUNC, []byte("probe\n")); err != nil {
		return s.fail("writing to", err)
	}
	return nil
}

// fail classifies an error of the file system: a full disk may be emptied, and
// a folder that cannot be written to is the operator's to put right.
func (s *spool) fail(doing string, err error) error {
	class, reason := dispatchers.Temporary, reasonSpool
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		reason = reasonSpoolFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist),
		errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		class = dispatchers.Broken
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return dispatchers.Fail(class, reason, "%s the spool folder %s: %w", doing, s.dir, err)
}
