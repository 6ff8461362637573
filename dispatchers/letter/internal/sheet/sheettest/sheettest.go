// Package sheettest reads letters as a printer, a scanner and a person would.
package sheettest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// Tool runs a program of the packages that test.sh installs, and returns what it
// writes.
func Tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var out, trouble bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testservice.Need(t, name), args...) //nolint:gosec // what tests run on their own files
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s%s", name, err, out.Bytes(), trouble.Bytes())
	}
	return out.Bytes()
}

// Scan checks a PDF of one page, and returns what its QR code holds at 200 dpi, and its text.
func Scan(t *testing.T, pdf []byte) (code, text string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "letter.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	Tool(t, "qpdf", "--check", file)
	if pages := strings.TrimSpace(string(Tool(t, "qpdf", "--show-npages", file))); pages != "1" {
		t.Errorf("the letter has %s pages", pages)
	}
	Tool(t, "pdftoppm", "-r", "200", "-gray", "-singlefile", file, filepath.Join(dir, "page"))
	code = string(Tool(t, "zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", filepath.Join(dir, "page.pgm")))
	text = string(Tool(t, "pdftotext", "-layout", file, "-"))
	return strings.TrimSuffix(code, "\n"), text
}
