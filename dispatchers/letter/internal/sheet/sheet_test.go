package sheet

import (
	"bytes"
	"cmp"
	"errors"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/letter/internal/sheet/sheettest"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
)

var today = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

// samplePage is a page with a QR code of n bytes.
func samplePage(t *testing.T, n int) *Page {
	t.Helper()
	code, err := Code(t.Context(), strings.Repeat("a", n))
	if err != nil {
		t.Fatal(err)
	}
	return &Page{
		Language: "de", Created: today,
		Address: []string{"Erste", "zweite", "dritte", "vierte", "fünfte", "Letzte"},
		Sender:  []string{"Absender", "8000 Zürich"},
		Texts: map[texts.Part]string{
			texts.Date: "23.11.2026", texts.Subject: "Betreff", texts.Opening: "Guten Tag\n\nText",
			texts.Caption: "Hinweis", texts.Closing: "Gruss",
		},
		Code: code,
	}
}

// file writes the page, and returns the path and the content of its PDF.
func (p *Page) file(t *testing.T) (path string, pdf []byte) {
	t.Helper()
	pdf, err := p.PDF()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "letter.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, pdf
}

// modules finds the QR code: the size of a module and its top in points, and its
// rectangles.
var modules = regexp.MustCompile(`(?m)^q 0 g [0-9.]+ 0 0 -([0-9.]+) [0-9.]+ ([0-9.]+) cm\n((?:\d+ \d+ \d+ 1 re\n)+)f Q$`)

func TestEverySizeOfCodeIsReadAt200dpi(t *testing.T) {
	for _, n := range []int{60, 300, 900, 1500, 2200, 2500, qr.MaxContent} {
		_, pdf := samplePage(t, n).file(t)
		if code, _ := sheettest.Scan(t, pdf); code != strings.Repeat("a", n) {
			t.Errorf("%d bytes: the code read is %d bytes long", n, len(code))
		}
	}
}

var boxedWord = regexp.MustCompile(`xMin="([0-9.]+)" yMin="([0-9.]+)" xMax="([0-9.]+)" yMax="([0-9.]+)">(.*)</word>`)

// TestAddressIsInTheWindow: everything of the address, and nothing else, is
// where the window of a C5 envelope shows it.
func TestAddressIsInTheWindow(t *testing.T) {
	for side, left := range map[string]float64{"right": 118, "left": 25} {
		p := samplePage(t, qr.MaxContent)
		p.WindowLeft = side == "left"
		p.Address[1] = "Gemeinschaftspraxis Dr. Müller-Lüdenscheidt & Partner"
		file, _ := p.file(t)
		inside := 0
		for _, w := range boxedWord.FindAllStringSubmatch(string(sheettest.Tool(t, "pdftotext", "-bbox", file, "-")), -1) {
			var box [4]float64
			for i := range box {
				points, _ := strconv.ParseFloat(w[i+1], 64)
				box[i] = points * 25.4 / 72
			}
			within := box[0] > left-0.5 && box[2] < left+76.5 && box[1] > 50 && box[3] < 83
			if within {
				inside++
			} else if box[1] < 90 {
				t.Errorf("%s: %q stands at %.0f mm outside the window", side, w[5], box)
			}
			if box[2] > 200 || box[3] > 287 {
				t.Errorf("%s: %q stands at %.0f mm, too near to the edge", side, w[5], box)
			}
		}
		if inside != 5+5+3 { // five words, the long line, and the sender
			t.Errorf("%s: %d words in the window", side, inside)
		}
	}
}

func TestCodeAvoidsTheFold(t *testing.T) {
	packed, _ := samplePage(t, qr.MaxContent).file(t)
	raw := filepath.Join(t.TempDir(), "raw.pdf")
	sheettest.Tool(t, "qpdf", "--qdf", packed, raw)
	content, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	grid := modules.FindStringSubmatch(string(content))
	if grid == nil || strings.Count(grid[3], " re\n") < 1000 {
		t.Fatalf("the code is not drawn: %.200q", grid)
	}
	step, _ := strconv.ParseFloat(grid[1], 64)
	top, _ := strconv.ParseFloat(grid[2], 64)
	for line := range strings.Lines(grid[3]) {
		row, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
		if y := top - row*step; y > (297-148.5)*72/25.4 {
			t.Fatalf("a module stands above the fold, %.1f points from below", y)
		}
	}
}

func TestSamePageGivesSameBytes(t *testing.T) {
	_, first := samplePage(t, 500).file(t)
	for range 3 {
		if _, next := samplePage(t, 500).file(t); !bytes.Equal(first, next) {
			t.Fatal("the PDF differs")
		}
	}
}

func TestFontsAreEmbedded(t *testing.T) {
	file, _ := samplePage(t, 10).file(t)
	lines := strings.Split(strings.TrimSpace(string(sheettest.Tool(t, "pdffonts", file))), "\n")
	for _, line := range lines[2:] {
		if fields := strings.Fields(line); fields[len(fields)-5] != "yes" {
			t.Errorf("a font is not embedded: %s", line)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d fonts, want 2", len(lines)-2)
	}
}

func TestTextShrinksBeforeItIsRefused(t *testing.T) {
	p := samplePage(t, qr.MaxContent)
	s := New(today, "de")
	var sizes []float64
	for a := s.fit(p); a != nil; a = s.fit(p) {
		if a.closing.bottom() > bottom || a.codeTop < a.opening.bottom() {
			t.Fatalf("parts overlap or leave the page: %+v", a)
		}
		sizes = append(sizes, a.opening.size)
		p.Texts[texts.Opening] += "Ein Satz von mässiger Länge, der sich wiederholt. "
	}
	if !slices.IsSortedFunc(sizes, func(a, b float64) int { return cmp.Compare(b, a) }) {
		t.Errorf("more text is set larger: %v", sizes)
	}
	if used := slices.Compact(sizes); !slices.Equal(used, textSizes) {
		t.Errorf("sizes used = %v", used)
	}
}

// TestPictureOfTheVisualCode: its cells have their colors on paper, the QR code
// beside it is read, and a page that is full goes without it.
func TestPictureOfTheVisualCode(t *testing.T) {
	p := samplePage(t, 300)
	p.Picture = visualcode.New("token", 4)
	a := New(today, "de").fit(p)
	if a == nil || a.pictureTop <= a.caption.bottom() || a.closing.top < a.pictureTop+pictureCell*(visualcode.Side+2) {
		t.Fatalf("it has no place of its own: %+v", a)
	}
	file, pdf := p.file(t)
	if code, _ := sheettest.Scan(t, pdf); code != strings.Repeat("a", 300) {
		t.Errorf("the QR code beside it reads %q", code)
	}
	const dotsPerMM = 200 / 25.4
	page, err := png.Decode(bytes.NewReader(sheettest.Tool(t, "pdftoppm", "-r", "200", "-png", "-singlefile", file)))
	if err != nil {
		t.Fatal(err)
	}
	for row := range p.Picture.Cells {
		for column, set := range p.Picture.Cells[row] {
			want := p.Picture.Ground
			if set {
				want = p.Picture.Figure
			}
			x, y := a.caption.x+(float64(column)+1.5)*pictureCell, a.pictureTop+(float64(row)+1.5)*pictureCell
			if got := color.RGBAModel.Convert(page.At(int(x*dotsPerMM), int(y*dotsPerMM))); got != want {
				t.Errorf("cell %d, %d is %v, want %v", column, row, got, want)
			}
		}
	}
	s := New(today, "de")
	for a := s.fit(p); a != nil && a.pictureTop > 0; a = s.fit(p) {
		p.Texts[texts.Caption] += "Noch ein Hinweis, der Platz braucht. "
	}
	if s.fit(p) == nil {
		t.Error("a letter is refused because the picture does not fit")
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"Zürich, Genève, Lüscher & Söhne «à»": "Zürich, Genève, Lüscher & Söhne «à»",
		"Šarić Đoković Dvořák Şahin Łukasz":   "Šarić Đoković Dvořák Şahin Łukasz",
		"Nguyễn Thị":             "Nguyen Thi",
		"e\u0301":                "é",
		"Αθήνα Київ":             "Αθήνα Київ",
		"ok 👍🏽👨\u200d👩 \ufe0f!":  "ok  !",
		"soft\u00adhyphen\u200b": "softhyphen",
		"ﬁ Ⅳ ½ ＡＢＣ\u3000x":       "ﬁ IV ½ ABC x",
		"a\u202fb":               "a b",
	} {
		if got, err := Printable(text); err != nil || got != want {
			t.Errorf("printable(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"山田", "שלום", "สวัสดี", "\ue000", "नमस्ते"} {
		got, err := Printable(text)
		if _, ok := errors.AsType[Unprintable](err); !ok {
			t.Errorf("printable(%q) = %q, %v", text, got, err)
		}
	}
}

func TestWrap(t *testing.T) {
	s := New(today, "de")
	s.pdf.SetFont("go", "", 10)
	for _, text := range []string{
		"", "kurz", "zwei  Leerzeichen\n\nneuer Absatz", strings.Repeat("Donaudampfschiff", 30),
		strings.Repeat("Wort ", 100), "no\u00a0break" + strings.Repeat(" x", 200),
	} {
		lines := s.wrap(text, 60)
		for _, line := range lines {
			if width := s.pdf.GetStringWidth(line); width > 60 {
				t.Errorf("%.20q: a line is %.1f mm wide", text, width)
			}
		}
		squeeze := strings.NewReplacer(" ", "", "\n", "")
		if got := squeeze.Replace(strings.Join(lines, "")); got != squeeze.Replace(text) {
			t.Errorf("%.20q: text is lost: %q", text, got)
		}
	}
}
