package visualcode

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// pair is the number of the picture's colors, as docs/protocol.md counts them.
func (p *Picture) pair() int { return slices.Index(palette[:], [2]color.RGBA{p.Ground, p.Figure}) }

func (p *Picture) pattern() string {
	rows := make([]string, 0, Side)
	for _, row := range p.Cells {
		text := ""
		for _, set := range row {
			text += map[bool]string{true: "#", false: "."}[set]
		}
		rows = append(rows, text)
	}
	return strings.Join(rows, " ")
}

// documented is what docs/protocol.md says, which apps are written from.
func documented(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

var vector = regexp.MustCompile("(?m)^\\| `(.+)` \\| `([0-9]+)` \\| ([0-7]) \\| `([#. ]+)` \\|$")

func TestDocumentedVectors(t *testing.T) {
	vectors := vector.FindAllStringSubmatch(documented(t), -1)
	if len(vectors) < 5 {
		t.Fatalf("docs/protocol.md has %d vectors", len(vectors))
	}
	for _, v := range vectors {
		p := New(v[1], len(v[2]))
		if p.Digits != v[2] || strconv.Itoa(p.pair()) != v[3] || p.pattern() != v[4] {
			t.Errorf("%s: got %s, pair %d, %s, want %s", v[1], p.Digits, p.pair(), p.pattern(), v[0])
		}
	}
}

var documentedPair = regexp.MustCompile("(?m)^\\| ([0-7]) \\| `(#[0-9a-f]{6})` \\| `(#[0-9a-f]{6})` \\| ([0-9.]+) \\|$")

// TestColorsDifferWithoutColorVision: the contrast is that of WCAG 2.2.
func TestColorsDifferWithoutColorVision(t *testing.T) {
	rows := documentedPair.FindAllStringSubmatch(documented(t), -1)
	if len(rows) != len(palette) {
		t.Fatalf("docs/protocol.md has %d pairs of colors, and there are %d", len(rows), len(palette))
	}
	for i, pair := range palette {
		light, dark := luminance(pair[0]), luminance(pair[1])
		if light < dark {
			light, dark = dark, light
		}
		contrast := (light + 0.05) / (dark + 0.05)
		if contrast < 7 {
			t.Errorf("pair %d has a contrast of %.2f", i, contrast)
		}
		want := []string{strconv.Itoa(i), hex(pair[0]), hex(pair[1]), fmt.Sprintf("%.1f", contrast)}
		if got := rows[i][1:]; !slices.Equal(got, want) {
			t.Errorf("docs/protocol.md has %q, want %q", got, want)
		}
	}
}

func luminance(c color.RGBA) float64 {
	channel := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(c.R) + 0.7152*channel(c.G) + 0.0722*channel(c.B)
}

// TestPageDrawsTheSame compares with the code of the demo page, which shares
// nothing with this package but docs/protocol.md.
func TestPageDrawsTheSame(t *testing.T) {
	type job struct {
		Token  string `json:"token"`
		Digits int    `json:"digits"`
	}
	type drawing struct {
		Digits string   `json:"digits"`
		Pair   int      `json:"pair"`
		Rows   []string `json:"rows"`
		SVG    string   `json:"svg"`
	}
	var jobs []job
	for _, v := range vector.FindAllStringSubmatch(documented(t), -1) {
		jobs = append(jobs, job{v[1], len(v[2])})
	}
	for i := range 200 {
		jobs = append(jobs, job{rand.Text(), 2 + i%7})
	}
	input, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testservice.Need(t, "node"), "testdata/draw.mjs")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var drawings []drawing
	if err := json.Unmarshal(output, &drawings); err != nil || len(drawings) != len(jobs) {
		t.Fatalf("%d drawings of %d: %v", len(drawings), len(jobs), err)
	}
	for i, j := range jobs {
		p, got := New(j.Token, j.Digits), drawings[i]
		if got.Digits != p.Digits || got.Pair != p.pair() || strings.Join(got.Rows, " ") != p.pattern() || got.SVG != p.SVG() {
			t.Errorf("%s with %d digits: the page draws %+v, the sidecar %s", j.Token, j.Digits, got, p.SVG())
		}
	}
}

// TestSVGIsSelfContained: an SVG can run scripts and fetch what it names, and it
// is put into pages as it is.
func TestSVGIsSelfContained(t *testing.T) {
	for range 50 {
		p := New(rand.Text(), 8)
		svg := p.SVG()
		if len(svg) > 2048 {
			t.Errorf("%d bytes", len(svg))
		}
		var title struct {
			Text string `xml:"title"`
		}
		if err := xml.Unmarshal([]byte(svg), &title); err != nil || title.Text != p.Digits {
			t.Errorf("the title is %q: %v", title.Text, err)
		}
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			element, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			if !slices.Contains([]string{"svg", "title", "path", "text"}, element.Name.Local) {
				t.Errorf("it has an element %s", element.Name.Local)
			}
			for _, a := range element.Attr {
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Value, "url(") {
					t.Errorf("it has %s=%q", a.Name.Local, a.Value)
				}
			}
		}
	}
}

func TestPNGShowsThePattern(t *testing.T) {
	for _, token := range []string{"token", "b", rand.Text()} {
		p := New(token, 4)
		content, err := p.PNG()
		if err != nil {
			t.Fatal(err)
		}
		m, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		cells := Side + 2
		size := m.Bounds().Dx() / cells
		if m.Bounds().Dy() != size*cells {
			t.Fatalf("it is not square: %v", m.Bounds())
		}
		for y := range cells {
			for x := range cells {
				want := p.Ground
				if inside := x > 0 && y > 0 && x <= Side && y <= Side; inside && p.Cells[y-1][x-1] {
					want = p.Figure
				}
				if got := color.RGBAModel.Convert(m.At(x*size+size/2, y*size+size/2)); got != want {
					t.Errorf("%s: cell %d, %d is %v, want %v", token, x, y, got, want)
				}
			}
		}
	}
}

func TestNoPictureWithoutATokenOrDigits(t *testing.T) {
	if New("", 4) != nil || New("token", 0) != nil {
		t.Error("there is one")
	}
}
