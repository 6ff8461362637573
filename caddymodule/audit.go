package caddymodule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// Audit says where the audit trail is kept: one line for each dispatch and for
// each change of a dispatch target, without tokens, addresses and names of
// users. Either `file` or `log` is given.
type Audit struct {
	// A file to which JSON lines are appended. Each holds the hash of the one
	// before; `caddy oob audit verify` finds lines that were changed or taken
	// out. The file is for one process only, and dispatches go on if it cannot
	// be written. Placeholders are resolved when the configuration is loaded.
	File string `json:"file,omitempty"`

	// The name of a logger, which is appended to the handler's, such as
	// `audit` for `http.handlers.oob_dispatch.audit`: a log of Caddy's that
	// includes it decides on output, format and rotation. The lines are not
	// chained.
	Log string `json:"log,omitempty"`
}

// auditFiles outlive a reload, so that each has one writer.
var auditFiles = caddy.NewUsagePool()

type auditFile struct{ *auditfile.File }

// Destruct implements caddy.Destructor.
func (f auditFile) Destruct() error {
	f.Close()
	return nil
}

// openAudit prepares the audit trail. No file is opened before there is
// something to write.
func (h *Handler) openAudit(log *zap.Logger) error {
	switch {
	case h.Audit == nil:
		return nil
	case h.Audit.Log != "":
		h.trail = logTrail(log.Named(h.Audit.Log))
		return nil
	}
	return h.openAuditFile()
}

func (a *Audit) check() error {
	switch {
	case a == nil:
		return nil
	case (a.File == "") == (a.Log == ""):
		return errors.New("audit: give a file or the name of a log, one of them")
	case a.File != "":
		return placeholder.CheckPath("audit file", a.File)
	case !validName.MatchString(a.Log):
		return fmt.Errorf("audit log %q: a name has 1 to 64 letters, digits, dots, underscores or hyphens", a.Log)
	}
	return nil
}

func (h *Handler) openAuditFile() error {
	path, err := placeholder.Resolve("audit file", h.Audit.File)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	if err := canHoldAudit(path); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	file, _, err := auditFiles.LoadOrNew(path, func() (caddy.Destructor, error) {
		return auditFile{auditfile.New(path, new(auditTrouble).report)}, nil
	})
	if err != nil {
		return fmt.Errorf("sharing the audit file: %w", err)
	}
	h.release = append(h.release, func() error { _, err := auditFiles.Delete(path); return err })
	h.trail = fileTrail(file.(auditFile).File)
	return nil
}

// canHoldAudit finds errors in a path without touching anything.
func canHoldAudit(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file; to write elsewhere, use audit log", path)
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if info, err = os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("the folder of %s does not exist; make it, writable for the server's user alone", path)
	}
	return nil
}

// observer tells the metrics and, where there is one, the audit trail.
func (h *Handler) observer(m *metrics) exchange.Observer {
	if h.trail == nil {
		return m
	}
	return audited{m, h.trail}
}

// auditTrouble counts the lines that are lost, and logs when that begins and
// ends.
type auditTrouble struct{ present atomic.Bool }

func (t *auditTrouble) report(lost int64, err error) {
	collectors().auditFailures.Add(float64(lost))
	if before := t.present.Swap(err != nil); before == (err != nil) {
		return
	}
	log := caddy.Log().Named("http.handlers.oob_dispatch") // the present one: the file outlives reloads
	if err != nil {
		log.Error("audit lines are lost; dispatches go on", zap.Error(err))
		return
	}
	log.Info("audit lines are written again")
}

func readAudit(h *Handler, d *caddyfile.Dispenser) error {
	const form = "audit takes file and a path, or log and a name, such as: audit file /var/log/oob-dispatch/audit.jsonl"
	args, err := conf.Values(d, 2, form)
	if err != nil {
		return err
	}
	switch args[0] {
	case "file":
		h.Audit = &Audit{File: args[1]}
	case "log":
		h.Audit = &Audit{Log: args[1]}
	default:
		return errors.New(form)
	}
	return nil
}
