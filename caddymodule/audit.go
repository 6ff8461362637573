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

	// The size in bytes after which the file gets the number of its last line
	// after its name, such as `audit.jsonl.000000004711`, and another one goes
	// on with the chain, 1 MiB to 16 GiB. Default: 104857600 (100 MiB)
	RollSize int64 `json:"roll_size,omitempty"`

	// How many such full files are kept; older ones are removed, 1 to 10000.
	// Default: 10
	RollKeep int `json:"roll_keep,omitempty"`

	// The private key that signs checkpoints of the file, once a minute and at its
	// end, so that `caddy oob audit verify` finds with the public one that lines
	// were cut off or all of them made anew. `caddy oob audit keygen` makes both.
	// Use a placeholder such as `{file./path}`, and a file that those who may write
	// to the audit file cannot read. Default: no checkpoints
	SigningKey string `json:"signing_key,omitempty"`

	// The name of a logger, which is appended to the handler's, such as
	// `audit` for `http.handlers.oob_dispatch.audit`: a log of Caddy's that
	// includes it decides on output, format and rotation. The lines are not
	// chained.
	Log string `json:"log,omitempty"`
}

var auditOptions = conf.Table[Audit]{
	conf.Argument(conf.Custom("audit", readAudit, nil)),
	conf.Size("roll_size", func(a *Audit) *int64 { return &a.RollSize }, 1<<20, 16<<30, 100<<20),
	conf.Int("roll_keep", func(a *Audit) *int { return &a.RollKeep }, 1, 10_000, 10),
	conf.Secret("signing_key", func(a *Audit) *string { return &a.SigningKey }, conf.Parses(auditfile.ParseSigner)),
}

func readAudit(a *Audit, d *caddyfile.Dispenser) error {
	const form = "audit takes file and a path, or log and a name, such as: audit file /var/log/oob-dispatch/audit.jsonl"
	args, err := conf.Values(d, 2, form)
	if err != nil {
		return err
	}
	switch args[0] {
	case "file":
		a.File = args[1]
	case "log":
		a.Log = args[1]
	default:
		return errors.New(form)
	}
	return nil
}

// Check implements conf.Checker.
func (a *Audit) Check() error {
	switch {
	case (a.File == "") == (a.Log == ""):
		return errors.New("audit: give a file or the name of a log, one of them")
	case a.File != "":
		return placeholder.CheckPath("audit file", a.File)
	case !validName.MatchString(a.Log):
		return fmt.Errorf("audit log %q: a name has 1 to 64 letters, digits, dots, underscores or hyphens", a.Log)
	case a.RollSize != 0 || a.RollKeep != 0 || a.SigningKey != "":
		return errors.New("roll_size, roll_keep and signing_key belong to audit file: remove them, and have Caddy's log roll its file")
	}
	return nil
}

// auditOption is the option audit of the handler.
var auditOption = conf.Custom("audit",
	func(h *Handler, d *caddyfile.Dispenser) error {
		h.Audit = new(Audit)
		return auditOptions.Unmarshal(d.NewFromNextSegment(), h.Audit)
	},
	func(h *Handler) error {
		if h.Audit == nil {
			return nil
		}
		return auditOptions.Check(h.Audit)
	})

// auditFiles outlive a reload, so that each has one writer.
var auditFiles = caddy.NewUsagePool()

type auditFile struct {
	*auditfile.File
	path    string
	trouble *auditTrouble
}

// Destruct implements caddy.Destructor.
func (f *auditFile) Destruct() error {
	f.Close()
	return nil
}

// openAudit prepares the audit trail; nil where none is configured. No file is
// opened before there is something to write.
func (h *Handler) openAudit(log *zap.Logger) (auditTrail, error) {
	switch {
	case h.Audit == nil:
		return nil, nil
	case h.Audit.Log != "":
		return logTrail(log.Named(h.Audit.Log)), nil
	}
	if err := auditOptions.Provision(h.Audit, h.logger); err != nil {
		return nil, err
	}
	path, err := placeholder.Resolve("audit file", h.Audit.File)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err == nil {
		err = canHoldAudit(path)
	}
	if err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	file, loaded, err := share(h, auditFiles, path, func() (*auditFile, error) {
		trouble := new(auditTrouble)
		return &auditFile{auditfile.New(path, h.Audit.options(), trouble.report), path, trouble}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("sharing the audit file: %w", err)
	}
	h.audit = file
	if loaded {
		h.audit.SetOptions(h.Audit.options())
	}
	return fileTrail(h.audit.File), nil
}

// options are those of a block that has been provisioned.
func (a *Audit) options() auditfile.Options {
	o := auditfile.Options{Size: a.RollSize, Keep: a.RollKeep}
	if a.SigningKey != "" {
		o.Signer, _ = auditfile.ParseSigner(a.SigningKey) // which Provision did as well
	}
	return o
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

// auditTrouble counts the lines that are lost, and logs when that begins and
// ends.
type auditTrouble struct {
	present atomic.Bool
	last    atomic.Pointer[error]
}

// failure returns why lines are lost at present, nil where they are written.
func (t *auditTrouble) failure() error {
	if err := t.last.Load(); err != nil && t.present.Load() {
		return *err
	}
	return nil
}

func (t *auditTrouble) report(lost int64, err error) {
	collectors().auditFailures.Add(float64(lost))
	t.last.Store(&err)
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
