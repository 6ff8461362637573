package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

func TestRoundTrip(t *testing.T) {
	first := empty()
	lines := crowd(t, 2000)
	expired, stale, keyless := target(2000), target(2001), target(2002)
	expired.GoneAddress = expired.Address
	stale.Unsure, stale.Modified = []string{"encryption_key"}, 1_777_000_000_000
	stale.Fence = &targets.Fence{Changes: []targets.FencedChange{{ID: "x", Since: noon}}, Members: []string{"name"}}
	keyless.EncryptionKey, keyless.Thumbprint, keyless.SignatureKey = nil, "", nil
	// Nothing is known of this one but what is unsure.
	stub := &targets.Target{ID: "stub", Source: targets.SourceModify, Updated: noon, Unsure: []string{"name"}}
	for _, record := range []*targets.Target{expired, stale, keyless, stub} {
		lines += encode(t, record)
	}
	report := mustRun(t, newImport(first), lines)
	if want := (&transfer.Report{Lines: 2004, Added: 2004}); !reflect.DeepEqual(report, want) {
		t.Errorf("report %+v", report)
	}
	text := exported(t, first, "")
	if want := strings.Join(slices.Sorted(strings.Lines(lines)), ""); text != want {
		t.Error("the export differs from what was imported")
	}
	second := empty()
	mustRun(t, newImport(second), text)
	if exported(t, second, "") != text {
		t.Error("the second export differs from the first")
	}
	if report := mustRun(t, newImport(second), text); report.Unchanged != 2004 || report.Added+report.Replaced+report.Kept > 0 {
		t.Errorf("imported again: %+v", report)
	}
}

// Every refusal names the reason, the line and nothing of its content.
func TestRefusedLines(t *testing.T) {
	record := target(0)
	private, err := devicekey.GenerateKey("RSA-2048")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, line, reason string }{
		{"garbage", "\x01\x02 secret", "not_json"},
		{"text", "secret", "not_json"},
		{"half a record", encode(t, record)[:100], "not_json"},
		{"two records on a line", strings.TrimSpace(encode(t, record)) + encode(t, target(1)), "not_json"},
		{"duplicate member", `{"schema":1,"id":"a","id":"secret"}`, "not_json"},
		{"lone surrogate", `{"schema":1,"id":"\ud800"}`, "not_json"},
		{"array", `["secret"]`, "not_a_record"},
		{"null", `null`, "not_a_record"},
		{"empty object", `{}`, "not_a_record"},
		{"no id", with(t, record, map[string]any{"id": nil}), "not_a_record"},
		{"no schema", with(t, record, map[string]any{"schema": nil}), "not_a_record"},
		{"negative schema", with(t, record, map[string]any{"schema": -1}), "not_a_record"},
		{"unknown member", with(t, record, map[string]any{"secret": 1}), "not_a_record"},
		{"other letter case", with(t, record, map[string]any{"id": nil, "ID": "secret"}), "not_a_record"},
		{"number for an id", with(t, record, map[string]any{"id": 4}), "not_a_record"},
		{"unknown state", with(t, record, map[string]any{"state": "secret"}), "not_a_record"},
		{"no state", with(t, record, map[string]any{"schema": 1}), "not_a_record"},
		{"thumbprint without key", with(t, record, map[string]any{"encryption_key": nil}), "not_a_record"},
		{"bad time", with(t, record, map[string]any{"updated": "secret"}), "not_a_record"},
		{"too large a record", with(t, record, map[string]any{"name": strings.Repeat("x", targets.MaxRecord)}), "not_a_record"},
		{"newer schema", with(t, record, map[string]any{"schema": targets.SchemaVersion + 1, "color": "secret"}), "newer_schema"},
		{"other namespace", with(t, record, map[string]any{"namespace": "secret"}), "other_namespace"},
		{"updated in the future", with(t, record, map[string]any{"updated": noon.Add(2 * time.Hour)}), "in_the_future"},
		{"created in the future", with(t, record, map[string]any{"created": noon.Add(2 * time.Hour)}), "in_the_future"},
		{"other thumbprint", with(t, record, map[string]any{"thumbprint": "secret"}), "thumbprint"},
		{"private key", with(t, record, map[string]any{"encryption_key": string(private.JWK()), "thumbprint": nil}), "encryption_key private_members"},
		{"symmetric key", with(t, record, map[string]any{"encryption_key": map[string]string{"kty": "oct", "k": "c2VjcmV0"}}), "encryption_key private_members"},
		{"key of another use", with(t, record, map[string]any{"encryption_key": string(signatureKey().JWK()), "thumbprint": nil}), "encryption_key unsupported_type"},
		{"no key", with(t, record, map[string]any{"encryption_key": "secret"}), "encryption_key malformed"},
		{"private signature key", with(t, record, map[string]any{"signature_key": string(private.JWK())}), "signature_key private_members"},
		{"no signature key", with(t, record, map[string]any{"signature_key": 7}), "signature_key malformed"},
		{"NUL", "{\x00\"id\"}", "nul"},
		{"UTF-16 without a mark", "{\x00\"\x00i\x00", "nul"},
		{"UTF-8 byte order mark", "\xef\xbb\xbf" + encode(t, record), "byte_order_mark"},
		{"not UTF-8", "{\"id\":\"secret\xff\"}", "not_utf8"},
		{"gzip", "\x1f\x8b\x08secret", "not_utf8"},
		{"too long", strings.Repeat("secret", 40_000), "too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := empty()
			lines := "\r\n" + encode(t, target(1)) + strings.TrimSuffix(tt.line, "\n") + "\n\n" + strings.TrimSpace(encode(t, target(2)))
			report := mustRun(t, newImport(store), lines)
			refusal := report.Refused[tt.reason]
			if refusal.Count != 1 || !slices.Equal(refusal.Lines, []int64{3}) || len(report.Refused) != 1 {
				t.Errorf("refused %+v, want line 3 as %s", report.Refused, tt.reason)
			}
			if refusal.Text == "" || strings.Contains(refusal.Text, "secret") {
				t.Errorf("text %q", refusal.Text)
			}
			if report.Lines != 5 || report.Added != 2 || report.RefusedLines() != 1 {
				t.Errorf("report %+v", report)
			}
			if strings.Contains(string(store.Dump()), record.ID) {
				t.Error("the refused line was stored")
			}
			im := newImport(empty())
			im.Strict = true
			if _, err := im.Run(t.Context(), strings.NewReader(lines)); err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
				t.Errorf("strict: error %v, want line 3's", err)
			}
		})
	}
}

func TestUTF16IsRefusedAsAWhole(t *testing.T) {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		_, err := newImport(empty()).Run(t.Context(), strings.NewReader(mark+"{\x00"))
		if err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("error %v", err)
		}
	}
}

func TestListOfRefusedLinesIsBounded(t *testing.T) {
	report := mustRun(t, newImport(empty()), strings.Repeat("x\n", 1200)+"null\n")
	if r := report.Refused["not_json"]; r.Count != 1200 || len(r.Lines) != 20 || r.Lines[19] != 20 {
		t.Errorf("refused %+v", r)
	}
	if got := report.Reasons(); !slices.Equal(got, []string{"not_json", "not_a_record"}) {
		t.Errorf("reasons %q", got)
	}
}

func TestEmptyInput(t *testing.T) {
	for _, input := range []string{"", "\n", " \r\n\n\t"} {
		report := mustRun(t, newImport(empty()), input)
		if report.Added+report.RefusedLines() != 0 || report.Lines != int64(len(slices.Collect(strings.Lines(input)))) {
			t.Errorf("%q: report %+v", input, report)
		}
	}
}

// Whoever takes over targets from elsewhere need not fill in what the sidecar
// knows better.
func TestRecordMadeByHand(t *testing.T) {
	store := empty()
	key := keys()[0]
	line := fmt.Sprintf(`{"schema":1,"id":"a","target":"token","encryption_key":%q,"user":{"email":"a@example.com"}}`, key.JWK())
	report := mustRun(t, newImport(store), line)
	now := noon.Add(time.Hour)
	got := load(t, store, "a")
	want := &targets.Target{
		Schema: 2, ID: "a", Address: "token", EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(),
		Source: "import", Created: now, Updated: now,
	}
	if report.Users != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("report %+v, stored %+v", report, got)
	}
	if report := mustRun(t, newImport(store), line); report.Kept != 1 {
		t.Errorf("again: %+v", report)
	}
}

func TestOverwrite(t *testing.T) {
	at := func(created, updated time.Duration, modified int64) *targets.Target {
		record := target(0)
		record.Created, record.Updated, record.Modified = noon.Add(created), noon.Add(updated), modified
		return record
	}
	present := at(0, 0, 5)
	tests := []struct {
		name   string
		next   *targets.Target
		newer  bool // replaces it
		always bool
	}{
		{"the same", at(0, 0, 5), false, false},
		{"updated later", at(0, time.Second, 5), true, true},
		{"updated earlier", at(0, -time.Second, 5), false, true},
		{"updated at the same time", at(0, 0, 6), false, true},
		{"modified later", at(0, time.Second, 6), true, true},
		{"an older modification", at(0, time.Second, 4), false, true},
		{"registered again", at(time.Second, time.Second, 0), true, true},
		{"an earlier registration", at(-time.Second, -time.Second, 9), false, true},
	}
	for _, tt := range tests {
		for overwrite, want := range map[transfer.Overwrite]bool{transfer.Newer: tt.newer, transfer.Always: tt.always, transfer.Never: false} {
			store := empty()
			im := newImport(store)
			im.Overwrite, im.DryRun = overwrite, true
			mustRun(t, newImport(store), encode(t, present))
			dry := mustRun(t, im, encode(t, tt.next))
			if exported(t, store, "") != encode(t, present) {
				t.Errorf("%s, %s: the dry run changed the store", tt.name, overwrite)
			}
			im.DryRun = false
			report := mustRun(t, im, encode(t, tt.next))
			if !reflect.DeepEqual(dry, report) {
				t.Errorf("%s, %s: the dry run said %+v, then it was %+v", tt.name, overwrite, dry, report)
			}
			result := encode(t, present)
			if want {
				result = encode(t, tt.next)
			}
			if got := exported(t, store, ""); got != result || (report.Replaced == 1) != want {
				t.Errorf("%s, %s: replaced %d, want %t", tt.name, overwrite, report.Replaced, want)
			}
		}
	}
}

func TestOverwriteFlag(t *testing.T) {
	o := transfer.Newer
	if err := o.Set("always"); err != nil || o.String() != "always" {
		t.Errorf("%q, error %v", o, err)
	}
	if err := o.Set("sometimes"); err == nil || o != transfer.Always {
		t.Errorf("%q, error %v", o, err)
	}
}

// Several lines of one target are stored in their order, however many jobs
// there are.
func TestLinesOfOneTargetKeepTheirOrder(t *testing.T) {
	var lines strings.Builder
	for i := range 300 {
		for id := range 3 {
			record := target(id)
			record.Name = fmt.Sprint(i)
			lines.WriteString(encode(t, record))
		}
	}
	store := empty()
	im := newImport(store)
	im.Overwrite = transfer.Always
	mustRun(t, im, lines.String())
	for id := range 3 {
		if got := load(t, store, target(id).ID); got.Name != "299" {
			t.Errorf("target %d has the name of line %s", id, got.Name)
		}
	}
}

func TestDryRunStoresNothing(t *testing.T) {
	store := empty()
	im := newImport(store)
	im.DryRun = true
	report := mustRun(t, im, crowd(t, 600)+"x\n")
	if report.Added != 600 || report.RefusedLines() != 1 || len(store.Dump()) > 0 {
		t.Errorf("report %+v, stored %d bytes", report, len(store.Dump()))
	}
	store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("down") })
	if report, err := im.Run(t.Context(), strings.NewReader(crowd(t, 1))); err == nil || report.Lines != 0 {
		t.Errorf("store down: report %+v, error %v", report, err)
	}
}

func TestNamespaces(t *testing.T) {
	store := empty()
	bank := target(1)
	bank.Namespace = "bank"
	lines := encode(t, target(0)) + encode(t, bank)
	im := newImport(store)
	im.Namespace = "bank"
	if report := mustRun(t, im, lines); report.Added != 1 || report.Refused["other_namespace"].Count != 1 {
		t.Errorf("report %+v", report)
	}
	mustRun(t, newImport(store), encode(t, target(0)))
	if exported(t, store, "bank") != encode(t, bank) || exported(t, store, "") != encode(t, target(0)) {
		t.Error("an export has targets of another namespace")
	}
}

// An import that ended early is repeated: what is stored already stays as it is,
// and the rest is added.
func TestRepeatedAfterAFailure(t *testing.T) {
	lines := crowd(t, 1000) + "x\n" + crowd(t, 2500)
	store := empty()
	im := newImport(store)
	im.Jobs = 1
	writes := 0
	store.SetFault(func(_ context.Context, op kvtest.Op) error {
		if op == kvtest.Write {
			if writes++; writes > 700 {
				return errors.New("down")
			}
		}
		return nil
	})
	report, err := im.Run(t.Context(), strings.NewReader(lines))
	if err == nil || report.Lines == 0 || report.Lines > 700 || report.Added != report.Lines {
		t.Fatalf("report %+v, error %v", report, err)
	}
	store.SetFault(nil)
	report = mustRun(t, im, lines)
	if report.Added+report.Unchanged != 3500 || report.Unchanged < 1600 || report.RefusedLines() != 1 || report.Refused["not_json"].Lines[0] != 1001 {
		t.Errorf("repeated: %+v", report)
	}
	if exported(t, store, "") != crowd(t, 2500) {
		t.Error("not all was stored")
	}
}

// failing gives the error of its reader.
type failing struct{ read int }

func (f *failing) Read(p []byte) (int, error) {
	if f.read++; f.read == 1 {
		return copy(p, "\nx\n{"), nil
	}
	return 0, errors.New("the disk is gone")
}

func TestInputFails(t *testing.T) {
	_, err := newImport(empty()).Run(t.Context(), new(failing))
	if err == nil || !strings.Contains(err.Error(), "reading line 3: the disk is gone") {
		t.Errorf("error %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	store := empty()
	im := newImport(store)
	im.Progress = func(*transfer.Report, int64) { cancel() }
	report, err := im.Run(ctx, strings.NewReader(crowd(t, 2000)))
	if !errors.Is(err, context.Canceled) || report.Lines != report.Added || report.Lines == 0 || report.Lines == 2000 {
		t.Errorf("report %+v, error %v", report, err)
	}
}

// A target whose key was refused does not become one without a key on its way
// through a file. Files of earlier releases say nothing of refusals.
func TestRefusalsAreCarriedOver(t *testing.T) {
	refused, keyless := target(1), target(2)
	refused.EncryptionKey, refused.Thumbprint, refused.KeyRefused = nil, "", "rsa_size"
	keyless.EncryptionKey, keyless.Thumbprint = nil, ""
	lines := encode(t, refused) + encode(t, keyless)
	store := empty()
	mustRun(t, newImport(store), lines)
	if exported(t, store, "") != lines || strings.Count(lines, "key_refused") != 1 {
		t.Errorf("exported\n%s\nimported\n%s", exported(t, store, ""), lines)
	}
	if load(t, store, refused.ID).Keyless() || !load(t, store, keyless.ID).Keyless() {
		t.Error("the targets are mistaken for each other")
	}

	both := with(t, target(3), map[string]any{"key_refused": "rsa_size"})
	if report := mustRun(t, newImport(store), both); len(report.Refused) != 1 {
		t.Errorf("a key that is kept and refused was imported: %+v", report)
	}
}
