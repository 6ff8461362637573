package command

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/caddymodule"
	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
)

// question is what the flags of explain ask for.
type question struct {
	user, target, token, session, thumbprint, trace string
	since, until                                    string
	hashKey                                         string
	asJSON                                          bool
}

func explainCommand() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use: "explain [<file>…] [--user <name>] [--target <id>] [--token <hash>] [--session <id>] [--thumbprint <thumbprint>] " +
			"[--trace <id>] [--since <time>] [--until <time>] [--hash-key <file>] [--json]",
		Short: "Says in words what happened to dispatches",
		Long: `
Reads audit files, those that the configuration names or those that are given,
such as one of each replica, each after the full ones in its folder, and says in
words what became of each dispatch and each change of a target, in the order of
time. All that is asked for has to fit.

Files have hashes in place of names and ids. Their key is that of the option
hash_key, or the one in the store; --hash-key names a file with another. A token
is given by its hash, as the log has it and as the ids at third parties begin.

Times are as in 10:30, "2026-11-28 10:30", 2026-11-28T10:30:00+01:00, or 2h for
two hours ago. The files are not verified: see caddy oob audit verify.`,
		Example: `  caddy oob explain --user jeff --since 10:30
  caddy oob explain --session 6b5ad8bb-3b0a-4d2c-9d1b-6f3d8d8b2c11 a/audit.jsonl b/audit.jsonl`,
	}
	configFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&q.user, "user", "", "Name of the user")
	flags.StringVar(&q.target, "target", "", "Id of the dispatch target, or its hash in the log")
	flags.StringVar(&q.token, "token", "", "Hash of the token")
	flags.StringVar(&q.session, "session", "", "nevisFIDO's session id")
	flags.StringVar(&q.thumbprint, "thumbprint", "", "Thumbprint of the device's key")
	flags.StringVar(&q.trace, "trace", "", "Id of the trace, where Caddy's tracing is on")
	flags.StringVar(&q.since, "since", "", "Only from this time on")
	flags.StringVar(&q.until, "until", "", "Only up to this time")
	flags.StringVar(&q.hashKey, "hash-key", "", "File with the key of the hashes (default: the configuration's)")
	flags.BoolVar(&q.asJSON, "json", false, "Print the lines as they are, in the order of time")
	cmd.RunE = runCommand(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		s, err := q.selection()
		if err != nil {
			return err
		}
		paths, err := q.resolve(ctx, cmd, args, &s)
		if err != nil {
			return err
		}
		found, err := s.search(ctx, cmd, paths)
		if err != nil {
			return err
		}
		return q.answer(cmd.OutOrStdout(), found, s)
	})
	return cmd
}

func (q question) selection() (s selection, err error) {
	s.token, s.thumbprint, s.trace = q.token, q.thumbprint, q.trace
	if len(s.token) > keyedhash.Length && s.token[keyedhash.Length] == '_' {
		s.token = s.token[:keyedhash.Length] // what follows in the id of a message is the dispatcher
	}
	if q.user+q.target+q.token+q.session+q.thumbprint+q.trace+q.since+q.until == "" {
		return s, errors.New("say what to explain: --user, --target, --token, --session, --thumbprint, --trace, --since or --until")
	}
	return s, parseTimes(q.since, q.until, &s.since, &s.until)
}

// resolve finds the files, and the hashes of what is asked for. What is not given
// comes from the configuration.
func (q question) resolve(ctx context.Context, cmd *cobra.Command, paths []string, s *selection) ([]string, error) {
	hashes := q.user+q.target+q.session != ""
	var key *keyedhash.Key
	if hashes && q.hashKey != "" {
		content, err := os.ReadFile(q.hashKey)
		if err == nil {
			key, err = hashKeyOf(strings.TrimSpace(string(content)))
		}
		if err != nil {
			return nil, fmt.Errorf("--hash-key %s: %w", q.hashKey, err)
		}
	}
	if len(paths) == 0 || hashes && key == nil {
		h, all, storage, err := configuredHandler(cmd)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			if paths, err = auditPaths(cmd, all, h); err != nil {
				return nil, err
			}
		}
		if hashes && key == nil {
			if key, err = configuredHashKey(ctx, h, storage); err != nil {
				return nil, err
			}
		}
	}
	if hashes {
		s.user, s.target, s.session = key.Of("user", q.user), key.Of("target", q.target), key.Of("session", q.session)
		s.targetAsGiven = q.target
	}
	return paths, nil
}

func hashKeyOf(text string) (*keyedhash.Key, error) {
	if len(text) < keyedhash.MinSecret {
		return nil, fmt.Errorf("it holds no hash key, which has at least %d characters", keyedhash.MinSecret)
	}
	return keyedhash.New([]byte(text)), nil
}

// configuredHashKey returns the key of the handler's keyed hashes.
func configuredHashKey(ctx context.Context, h *caddymodule.Handler, storage json.RawMessage) (*keyedhash.Key, error) {
	if h.HashKey != "" {
		text, err := placeholder.Resolve("hash_key", h.HashKey)
		if err != nil {
			return nil, err
		}
		return hashKeyOf(text)
	}
	s, err := open(h, storage)
	if err != nil {
		return nil, err
	}
	defer s.close()
	secret, err := s.FindHashKey(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("taking the hash key from the store: %w", err)
	case secret == nil:
		return nil, errors.New("the store holds no hash key, as no sidecar has used it yet: name the sidecar's configuration with --config, or a file with the key with --hash-key")
	}
	return keyedhash.New(secret), nil
}

// auditPaths returns the audit files of all handlers that make the same hashes as
// h and are named by the flags.
func auditPaths(cmd *cobra.Command, all []*caddymodule.Handler, h *caddymodule.Handler) (paths []string, err error) {
	for _, other := range all {
		if other.Audit == nil || other.Audit.File == "" || !named(cmd, other) || !shareTargets(other, h) || other.HashKey != h.HashKey {
			continue
		}
		path, err := placeholder.Resolve("audit file", other.Audit.File)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return nil, errors.New("the configuration has no audit file: name one, such as: caddy oob explain /var/log/oob-dispatch/audit.jsonl")
	}
	return paths, nil
}

// auditLine is what explain reads of a line.
type auditLine struct {
	operate.Outcome

	Time      time.Time `json:"time"`
	Event     string    `json:"event"`
	Operation string    `json:"operation"`
	User      string    `json:"user"`
	Session   string    `json:"session"`
	TraceID   string    `json:"trace_id"`
	Source    string    `json:"source"`
	About     string    `json:"about"`
	Test      bool      `json:"test"`
	Lost      int64     `json:"lost"`

	text []byte // as it stands in the file
	file string
}

// selection says which lines are asked for; "" and zero stand for any.
type selection struct {
	user, target, token, session, thumbprint string // hashes
	trace                                    string // id
	targetAsGiven                            string // which may be a hash of the log's
	since, until                             time.Time
}

func (s selection) inTime(l *auditLine) bool {
	return !l.Time.Before(s.since) && (s.until.IsZero() || !l.Time.After(s.until))
}

func (s selection) fits(l *auditLine) bool {
	for _, m := range [][2]string{{s.user, l.User}, {s.token, l.Token}, {s.session, l.Session}, {s.thumbprint, l.Thumbprint}, {s.trace, l.TraceID}} {
		if m[0] != "" && m[0] != m[1] {
			return false
		}
	}
	return s.target == "" || l.Target == s.target || l.Target == s.targetAsGiven
}

// maxFound bounds what explain keeps in memory.
const maxFound = 100_000

// findings are the lines that explain has found.
type findings struct {
	lines   []*auditLine
	read    int64        // lines of all files
	writers []*auditLine // lines of the chain itself that tell of lost ones
}

// search reads the files. A line without a user is one for which the target could
// not be looked up: it belongs to the user of the same target's other lines.
func (s selection) search(ctx context.Context, cmd *cobra.Command, paths []string) (found findings, err error) {
	var nameless []*auditLine
	targets := make(map[string]bool)
	unnamed := s
	unnamed.user = ""
	for _, path := range paths {
		err := eachAuditLine(ctx, cmd, path, func(l *auditLine) error {
			found.read++
			switch {
			case !s.inTime(l):
			case l.Event == "opened" || l.Event == "resumed" || l.Event == "checkpoint":
				if l.Lost > 0 {
					found.writers = append(found.writers, l)
				}
			case s.fits(l):
				found.lines = append(found.lines, l)
				targets[l.Target] = true
			case l.User == "" && l.Target != "" && unnamed.fits(l):
				nameless = append(nameless, l)
			}
			if len(found.lines)+len(nameless) > maxFound {
				return fmt.Errorf("more than %d lines fit: narrow it down with --since and --until", maxFound)
			}
			return nil
		})
		if err != nil {
			return found, err
		}
	}
	for _, l := range nameless {
		if targets[l.Target] {
			found.lines = append(found.lines, l)
		}
	}
	slices.SortStableFunc(found.lines, func(a, b *auditLine) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// eachAuditLine calls f for each line of a trail. Lines that cannot be read are
// told of on standard error.
func eachAuditLine(ctx context.Context, cmd *cobra.Command, path string, f func(*auditLine) error) error {
	files, err := auditfile.Open(path)
	if err != nil {
		return fmt.Errorf("reading the audit file: %w", err)
	}
	defer auditfile.Close(files)
	read, unread := 0, 0
	for _, file := range files {
		in := bufio.NewScanner(file)
		in.Buffer(nil, auditfile.MaxLine)
		for in.Scan() && ctx.Err() == nil {
			l := readAuditLine(in.Bytes(), path)
			if l == nil {
				unread++
				continue
			}
			read++
			if err := f(l); err != nil {
				return err
			}
		}
		if err := cmp.Or(in.Err(), ctx.Err()); err != nil {
			return fmt.Errorf("reading %s: %w", file.Name(), err)
		}
	}
	switch {
	case read == 0 && unread > 0:
		return fmt.Errorf("%s holds no audit line: name the file of the option audit file", path)
	case unread > 0:
		cmd.PrintErrf("%d lines of %s cannot be read and are left out: see caddy oob audit verify %s\n", unread, path, path)
	}
	return nil
}

// readAuditLine returns nil for what is no audit line.
func readAuditLine(text []byte, path string) *auditLine {
	l := &auditLine{file: path, text: bytes.Clone(text)}
	if err := json.Unmarshal(text, l); err != nil || l.Event == "" || l.Time.IsZero() {
		return nil
	}
	return l
}

func (q question) answer(out io.Writer, found findings, s selection) error {
	w := bufio.NewWriter(out)
	if q.asJSON {
		for _, l := range found.lines {
			fmt.Fprintf(w, "%s\n", l.text)
		}
		return w.Flush()
	}
	for _, l := range found.lines {
		explain(w, l)
	}
	for _, l := range found.writers {
		fmt.Fprintf(w, "%d lines were lost before %s, see %s: what they told of is not here.\n", l.Lost, clock(l.Time), l.file)
	}
	if len(found.lines) == 0 {
		fmt.Fprintf(w, "Nothing fits among %d lines.", found.read)
		if s.user+s.target+s.session != "" {
			fmt.Fprint(w, " If the hash key was replaced since, or the files come from another sidecar, give its key with --hash-key.")
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 -0700") }

// explain says what a line tells of.
func explain(w io.Writer, l *auditLine) {
	switch l.Event {
	case "dispatch":
		explainDispatch(w, l)
	case "notice":
		explainNotice(w, l)
	default:
		explainTarget(w, l)
	}
}

// explainDispatch says what became of a dispatch.
func explainDispatch(w io.Writer, l *auditLine) {
	over := "over " + cmp.Or(printable(l.Dispatcher), "no dispatcher")
	if l.Dispatcher == "" {
		over = "over the dispatcher of its target"
	}
	what := printable(l.Operation)
	if l.Test {
		what = "test of " + what
	}
	fmt.Fprintf(w, "%s  %s %s: %s\n", clock(l.Time), what, over, outcomeOf(l))
	for _, a := range l.Attempts {
		if len(l.Attempts) == 1 && len(l.Fallbacks) == 0 {
			break // it is the outcome
		}
		if a.Class == "delivered" {
			fmt.Fprintf(w, "    %s delivered in %d ms\n", printable(a.Dispatcher), a.Took)
		} else {
			fmt.Fprintf(w, "    %s failed after %d ms: %s\n", printable(a.Dispatcher), a.Took, causeOf(a.Class, a.Reason, a.Cause))
		}
	}
	for _, f := range l.Fallbacks {
		fmt.Fprintf(w, "    because of that (%s) it went from %s on to %s\n", printable(f.Reason), printable(f.From), printable(f.To))
	}
	if how := encryptionOf(l); how != "" {
		fmt.Fprintf(w, "    %s\n", how)
	}
	explainIDs(w, l)
}

func outcomeOf(l *auditLine) string {
	took := fmt.Sprintf("after %d ms", l.Took)
	if l.Result == "observed" {
		if l.Class == "delivered" {
			return "only observed; it would have been sent"
		}
		return "only observed; it would have failed: " + causeOf(l.Class, l.Reason, l.Cause)
	}
	if l.Class == "delivered" {
		return fmt.Sprintf("delivered by %s %s", printable(cmp.Or(l.Delivered, l.Dispatcher)), took)
	}
	return fmt.Sprintf("not delivered, the caller was told %s %s: %s", printable(l.Result), took, causeOf(l.Class, l.Reason, l.Cause))
}

// classes say in words what the outcome classes mean, see package dispatchers.
var classes = map[string]string{
	"expired":   "the address of the device is gone, and has to be registered anew",
	"no_target": "the target is unknown, or has no address for this channel",
	"no_key":    "the message has to be encrypted, and there is no key that may be used",
	"refused":   "it was refused",
	"temporary": "it may work later",
	"broken":    "the configuration or the sidecar itself is at fault",
}

// causeOf says why a message was not delivered, and what to do.
func causeOf(class, reason, cause string) string {
	text := cmp.Or(classes[class], printable(class)) + " (" + printable(reason) + ")"
	if cause != "" {
		text += ": " + printable(cause)
	}
	if remedy := reasons.Failure(reason).Remedy; remedy != "" {
		text += ". " + remedy
	}
	return text
}

func encryptionOf(l *auditLine) string {
	switch l.Encryption {
	case "sealed":
		return "encrypted for the device with " + printable(l.Alg)
	case "sealed_upstream":
		return "encrypted by nevisFIDO"
	case "clear":
		return "not encrypted"
	}
	return ""
}

// events say in words what happened to a target, see package targets.
var events = map[string]string{
	"learned":               "a dispatch target was learned",
	"key_changed":           "a dispatch target got another key",
	"key_refused":           "the key of a dispatch target was refused",
	"signature_key_refused": "the signature key of a dispatch target was refused",
	"modified":              "a dispatch target was modified",
	"expired":               "the address of a dispatch target is gone: it is in quarantine until it is modified",
	"stale":                 "a dispatch target may have changed at nevisFIDO: nothing is sent to it until it is modified or registered again",
	"forgotten":             "a dispatch target was deleted",
	"dropped":               "a dispatch target was given up",
	"blocked":               "a dispatch target was blocked: nothing is sent to it until an operator lifts that",
	"unblocked":             "the block of a dispatch target was lifted",
	"unidentified":          "nevisFIDO made a dispatch target whose id it does not tell",
}

// explainTarget says what happened to a target.
func explainTarget(w io.Writer, l *auditLine) {
	fmt.Fprintf(w, "%s  %s", clock(l.Time), cmp.Or(events[l.Event], printable(l.Event)))
	if l.Source != "" {
		fmt.Fprintf(w, ", through %s", printable(l.Source))
	}
	if l.Reason != "" {
		fmt.Fprintf(w, " (%s)", printable(l.Reason))
	}
	fmt.Fprintln(w)
	explainIDs(w, l)
}

// explainNotice says how a notice went.
func explainNotice(w io.Writer, l *auditLine) {
	fmt.Fprintf(w, "%s  notice through %s that %s: ", clock(l.Time), printable(l.Dispatcher), cmp.Or(events[l.About], printable(l.About)))
	if l.Reason == "" {
		fmt.Fprintln(w, "delivered")
	} else {
		fmt.Fprintf(w, "not delivered (%s): %s\n", printable(l.Reason), printable(l.Cause))
	}
	explainIDs(w, l)
}

// explainIDs prints what leads on to other lines, and to the log.
func explainIDs(w io.Writer, l *auditLine) {
	var ids []string
	for _, m := range [][2]string{{"token", l.Token}, {"session", l.Session}, {"target", l.Target}, {"user", l.User}, {"thumbprint", l.Thumbprint}, {"trace", l.TraceID}} {
		if m[1] != "" {
			ids = append(ids, m[0]+" "+printable(m[1]))
		}
	}
	if len(ids) > 0 {
		fmt.Fprintf(w, "    %s, in %s\n", strings.Join(ids, ", "), l.file)
	}
}
