package transfer_test

import (
	"strings"
	"testing"
)

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
