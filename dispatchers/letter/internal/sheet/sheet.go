// Package sheet sets a letter on one sheet of A4 paper for window envelopes, as
// PDF. It knows what is on the paper and where, and nothing of who sends it.
package sheet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/color"
	"math"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"

	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
)

// The places on the page, in mm from its top left corner.
const (
	leftEdge  = 25.4
	rightEdge = 190.0
	bottom    = 282.0
	fold      = 585 * moduleStep // 148.6 mm: of a page in a C5 envelope

	addressRight = 118.0
	addressLeft  = 25.0
	addressWidth = 76.0 // what a window of 100 mm shows wherever the page slides
	senderTop    = 51.0
	addressTop   = 56.0
	addressStep  = 4.4

	dateTop    = 96.0
	subjectTop = 104.0

	gap = 5.0 // between the parts
)

// Sizes of type, in points. The text takes the largest with which it fits.
const (
	addressSize   = 10.0
	minLineSize   = 6.5 // of a long line in the address window
	senderSize    = 7.0
	lineHeight    = 1.35
	mmPerPoint    = 25.4 / 72.0
	paragraphSkip = 0.6 // of an empty line
)

// maxText bounds a part of the letter, in bytes; a page holds less.
const maxText = 10_000

var textSizes = []float64{10.5, 9.5, 8.5}

// ErrTooMuch means that a page does not hold what it has to show.
var ErrTooMuch = errors.New("the text, the address or the QR code is too long for one page")

// Page is what a letter shows. All its texts are Printable.
type Page struct {
	Language        string // a tag of RFC 5646
	Created         time.Time
	WindowLeft      bool // the envelope's window is on the left
	Address, Sender []string
	Texts           map[texts.Part]string
	Code            [][]bool // the modules of the QR code

	// Picture is that of the visual code, or nil. It stands below the caption,
	// where the page has room for it with the smallest type at least.
	Picture *visualcode.Picture
}

// PDF returns the page as PDF 1.4 or later with embedded fonts. The same page
// gives the same bytes. The error is ErrTooMuch, or one of the library.
func (p *Page) PDF() ([]byte, error) {
	s := New(p.Created, p.Language)
	if err := s.window(p); err != nil {
		return nil, err
	}
	a := s.fit(p)
	if a == nil {
		return nil, ErrTooMuch
	}
	s.draw(p, a)
	var b bytes.Buffer
	err := s.pdf.Output(&b)
	return b.Bytes(), err
}

// Sheet is a sheet of paper. To try out several pages one is enough.
type Sheet struct{ pdf *fpdf.Fpdf }

// New returns an empty sheet.
func New(created time.Time, language string) *Sheet {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(created.UTC())
	pdf.SetModificationDate(created.UTC())
	pdf.SetLang(language)
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetCellMargin(0) // which SplitText takes off
	pdf.AddUTF8FontFromBytes("go", "", goregular.TTF)
	pdf.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	pdf.AddPage()
	return &Sheet{pdf}
}

// Fits reports whether there is room for the texts and the QR code.
func (s *Sheet) Fits(p *Page) bool { return s.fit(p) != nil }

// window writes the return address and the recipient's.
func (s *Sheet) window(p *Page) error {
	x := addressRight
	if p.WindowLeft {
		x = addressLeft
	}
	if len(p.Sender) > 0 {
		line := strings.Join(p.Sender, ", ")
		if err := s.fitted(x, senderTop, line, senderSize); err != nil {
			return err
		}
		s.pdf.SetLineWidth(0.1)
		s.pdf.Line(x, senderTop+3.2, x+addressWidth, senderTop+3.2)
	}
	for i, line := range p.Address {
		if err := s.fitted(x, addressTop+float64(i)*addressStep, line, addressSize); err != nil {
			return err
		}
	}
	return nil
}

// fitted writes one line in the window, smaller if it is long.
func (s *Sheet) fitted(x, top float64, line string, size float64) error {
	s.pdf.SetFont("go", "", size)
	if width := s.pdf.GetStringWidth(line); width > addressWidth {
		size *= addressWidth / width
		if size < minLineSize {
			return ErrTooMuch
		}
		s.pdf.SetFontSize(size)
	}
	s.pdf.Text(x, top+addressSize*mmPerPoint*0.8, line)
	return nil
}

// block is lines of text on the page.
type block struct {
	x, top, size float64 // mm and points
	style        string  // of the font
	lines        []string
}

// bottom returns where the block ends, in mm.
func (b block) bottom() float64 { return b.top + height(b.lines, b.size) }

// arrangement is what goes below the window.
type arrangement struct {
	date, subject, opening, caption, closing block

	codeTop, module float64 // of the QR code and of one of its modules, in mm

	pictureTop float64 // of the visual code's, in mm; 0 for none
}

// fit arranges the parts with the largest type for which there is room; nil if
// there is none.
func (s *Sheet) fit(p *Page) *arrangement {
	if p.Picture != nil {
		for _, size := range textSizes {
			if a := s.arrange(p, size, pictureGap+pictureCell*(visualcode.Side+2)); a != nil {
				return a
			}
		}
	}
	for _, size := range textSizes {
		if a := s.arrange(p, size, 0); a != nil {
			return a
		}
	}
	return nil
}

// arrange returns nil if there is no room. The QR code goes below the fold if
// there is enough room for that. picture is the height of what goes below the
// caption.
func (s *Sheet) arrange(p *Page, size, picture float64) *arrangement {
	n := float64(len(p.Code) + 2*quietZone)
	a := &arrangement{module: min(max(math.Floor(maxCode/n), minSteps), maxSteps) * moduleStep}
	side := n * a.module
	a.date = block{leftEdge, dateTop, size, "", []string{p.Texts[texts.Date]}}
	a.subject = s.block(p.Texts[texts.Subject], leftEdge, subjectTop, size+1, "B")
	a.opening = s.block(p.Texts[texts.Opening], leftEdge, a.subject.bottom()+gap/2, size, "")
	a.caption = s.block(p.Texts[texts.Caption], leftEdge+side, 0, size, "")
	a.closing = s.block(p.Texts[texts.Closing], leftEdge, 0, size, "")

	row := max(side, a.caption.bottom()+picture+2*quietZone*a.module) + gap/2
	rest := row + a.closing.bottom()
	a.codeTop = math.Ceil(a.opening.bottom()/moduleStep) * moduleStep
	if a.codeTop+rest > bottom {
		return nil
	}
	if a.codeTop < fold && fold+rest <= bottom {
		a.codeTop = fold
	}
	a.caption.top = a.codeTop + quietZone*a.module
	a.closing.top = a.codeTop + row
	if picture > 0 {
		a.pictureTop = a.caption.bottom() + pictureGap
	}
	return a
}

// block wraps text between x and the right edge.
func (s *Sheet) block(text string, x, top, size float64, style string) block {
	s.pdf.SetFont("go", style, size)
	return block{x, top, size, style, s.wrap(text, rightEdge-x)}
}

func (s *Sheet) draw(p *Page, a *arrangement) {
	for _, b := range []block{a.date, a.opening, a.caption, a.closing, a.subject} {
		s.pdf.SetFont("go", b.style, b.size)
		y := b.top + b.size*mmPerPoint
		for i, line := range b.lines {
			s.pdf.Text(b.x, y+height(b.lines[:i], b.size), line)
		}
	}
	s.drawCode(p.Code, leftEdge-quietZone*a.module, a.codeTop, a.module)
	if a.pictureTop > 0 {
		s.drawPicture(p.Picture, a.caption.x, a.pictureTop)
	}
}

// Sizes of the visual code's picture, in mm.
const (
	pictureGap  = 2.5
	pictureCell = 3.0
)

func (s *Sheet) drawPicture(p *visualcode.Picture, x, top float64) {
	fill := func(c color.RGBA) { s.pdf.SetFillColor(int(c.R), int(c.G), int(c.B)) }
	fill(p.Ground)
	s.pdf.Rect(x, top, pictureCell*(visualcode.Side+2), pictureCell*(visualcode.Side+2), "F")
	fill(p.Figure)
	for row := range p.Cells {
		for column, set := range p.Cells[row] {
			if set {
				s.pdf.Rect(x+float64(column+1)*pictureCell, top+float64(row+1)*pictureCell, pictureCell, pictureCell, "F")
			}
		}
	}
}

// height returns what text takes, in mm.
func height(lines []string, size float64) float64 {
	h := 0.0
	for _, line := range lines {
		if line == "" {
			h += paragraphSkip
		} else {
			h++
		}
	}
	return h * size * mmPerPoint * lineHeight
}

// wrap breaks text into lines of at most this width in the present font: at
// spaces, or within words that are wider. No-break spaces hold, which they do
// not in fpdf's SplitText.
func (s *Sheet) wrap(text string, width float64) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsFuncSeq(paragraph, func(r rune) bool { return r == ' ' || r == '\t' }) {
			joined := strings.TrimPrefix(line+" "+word, " ")
			if s.pdf.GetStringWidth(joined) <= width {
				line = joined
				continue
			}
			if line != "" {
				lines = append(lines, line)
			}
			pieces := s.pdf.SplitText(word, width) // one, unless the word is too wide
			lines, line = append(lines, pieces[:len(pieces)-1]...), pieces[len(pieces)-1]
		}
		lines = append(lines, line)
	}
	return lines
}

// Sizes on paper. A hundredth of an inch is a whole number of dots at 200, 300
// and 600 dots per inch, so that all modules come out alike.
const (
	moduleStep = 0.254          // mm
	minSteps   = 2              // a module of 0.508 mm: 4 dots at 200 dpi
	maxSteps   = 4              // 1.016 mm
	quietZone  = 4              // modules (ISO/IEC 18004, section 6.3.8)
	maxCode    = 185 * minSteps // steps of the side of the largest symbol with its quiet zone
)

// Code returns the modules of a QR code, at level M if it can be and else at level
// L: paper gets folds and spots. On it they are drawn as vectors: a picture would
// be scaled, and its edges would blur. The errors are those of qr.Modules.
func Code(ctx context.Context, content string) ([][]bool, error) {
	code, err := qr.Modules(ctx, content, qr.LevelM)
	if errors.Is(err, qr.ErrTooLong) {
		code, err = qr.Modules(ctx, content, qr.LevelL)
	}
	return code, err
}

// drawCode draws the code with the top left corner of its quiet zone at x and y, as
// one path in modules, which is filled at once, so that there are no gaps between
// modules.
func (s *Sheet) drawCode(code [][]bool, x, y, module float64) {
	k := s.pdf.GetConversionRatio()
	_, height := s.pdf.GetPageSize()
	var path strings.Builder
	fmt.Fprintf(&path, "q 0 g %.3f 0 0 %.3f %.3f %.3f cm\n", module*k, -module*k, (x+quietZone*module)*k, (height-y-quietZone*module)*k)
	for y, row := range code {
		for x := 0; x < len(row); x++ {
			start := x
			for x < len(row) && row[x] {
				x++
			}
			if x > start {
				fmt.Fprintf(&path, "%d %d %d 1 re\n", start, y, x-start)
			}
		}
	}
	path.WriteString("f Q")
	s.pdf.RawWriteStr(path.String())
}
