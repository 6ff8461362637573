package qr

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
)

// link returns a link of n bytes as a device receives it: what varies is base64url.
func link(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	b.WriteString("https://app.example.com/open?dispatchTokenResponse=")
	for b.Len() < n {
		b.WriteByte(alphabet[random.IntN(len(alphabet))])
	}
	return b.String()[:n]
}

func drawPNG(t *testing.T, content string, o Options) []byte {
	t.Helper()
	b, err := PNG(t.Context(), content, o)
	if err != nil {
		t.Fatalf("PNG(%d bytes, %+v): %v", len(content), o, err)
	}
	return b
}

func TestPicturesAreReadByForeignDecoders(t *testing.T) {
	// The capacities in byte mode of ISO/IEC 18004, table 7.
	capacity := map[Level]int{"": 2953, LevelAuto: 2953, LevelL: 2953, LevelM: 2331, LevelQ: 1663, LevelH: 1273}
	var (
		contents []string
		pngs     [][]byte
	)
	for _, n := range []int{1, 300, 1000, 1300, 2000, 2900, 2953, 2954} {
		for _, level := range []Level{"", LevelL, LevelM, LevelQ, LevelH} {
			for _, o := range []Options{{}, {Width: MaxSize, Height: 501}} {
				o.Level = level
				content := link(n)
				b, err := PNG(t.Context(), content, o)
				if n > capacity[level] {
					if !errors.Is(err, ErrTooLong) || b != nil {
						t.Errorf("%d bytes, %+v: got %d bytes and %v, want ErrTooLong", n, o, len(b), err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%d bytes, %+v: %v", n, o, err)
					continue
				}
				contents, pngs = append(contents, content), append(pngs, b)
				got, gotLevel := zxing(t, b)
				if got != content {
					t.Errorf("%d bytes, %+v: ZXing reads another content", n, o)
				}
				if level != "" && gotLevel != level {
					t.Errorf("%d bytes, %+v: level %s", n, o, gotLevel)
				}
			}
		}
	}
	for i, got := range zbar(t, pngs) {
		if got != contents[i] {
			t.Errorf("zbar reads %d bytes of picture %d, want %d: %+v",
				len(got), i, len(contents[i]), measure(t, pngs[i], color.Black))
		}
	}
}

func TestLayout(t *testing.T) {
	tests := []struct {
		name          string
		content       string
		options       Options
		width, height int
	}{
		{"default", link(300), Options{}, 300, 300},
		{"default grows", link(2900), Options{}, 370, 370},
		{"default grows for a level", link(1273), Options{Level: LevelH}, 370, 370},
		{"smallest", "a", Options{Size: MinSize}, 64, 64},
		{"largest", "a", Options{Size: MaxSize}, 1024, 1024},
		{"no multiple of the modules", link(300), Options{Size: 311}, 311, 311},
		{"exactly two pixels a module", link(2953), Options{Size: 370}, 370, 370},
		{"landscape", link(300), Options{Width: 500, Height: 300}, 500, 300},
		{"portrait", link(300), Options{Width: 301, Height: 500}, 301, 500},
		{"width counts for both", link(300), Options{Width: 280}, 280, 280},
		{"height counts for both", link(300), Options{Height: 280}, 280, 280},
		{"width replaces size", link(300), Options{Size: 400, Width: 280}, 280, 400},
		{"height replaces size", link(300), Options{Size: 400, Height: 280}, 400, 280},
	}
	var pngs [][]byte
	for _, tt := range tests {
		b := drawPNG(t, tt.content, tt.options)
		pngs = append(pngs, b)
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := zxing(t, b); got != tt.content {
				t.Error("ZXing reads another content")
			}
			l := measure(t, b, color.Black)
			if l.width != tt.width || l.height != tt.height {
				t.Errorf("%d×%d pixels, want %d×%d", l.width, l.height, tt.width, tt.height)
			}
			if want := min(tt.width, tt.height) / (l.side + 8); l.scale != want || want < 2 {
				t.Errorf("%d pixels per module of %d, want %d", l.scale, l.side, want)
			}
			if quiet := min(l.left, l.right, l.top, l.bottom); quiet < 4*l.scale {
				t.Errorf("quiet zone of %d pixels, want at least 4 modules of %d", quiet, l.scale)
			}
			if l.right-l.left > 1 || l.left > l.right || l.bottom-l.top > 1 || l.top > l.bottom {
				t.Errorf("symbol is not centered: %+v", l)
			}
		})
	}
	for i, got := range zbar(t, pngs) {
		if got != tests[i].content {
			t.Errorf("%s: zbar reads another content", tests[i].name)
		}
	}
}

func TestAutoLevelIsTheHighestThatFits(t *testing.T) {
	// In 300 pixels, two a module and the quiet zone leave room for version 31,
	// which holds 790, 1,030, 1,452 and 1,840 bytes at H, Q, M and L.
	tests := []struct {
		bytes, size int
		level       Level
		width       int
	}{
		{1, 0, LevelH, 300},
		{790, 0, LevelH, 300},
		{791, 0, LevelQ, 300},
		{1030, 300, LevelQ, 300},
		{1031, 300, LevelM, 300},
		{1452, 0, LevelM, 300},
		{1453, 0, LevelL, 300},
		{1840, 300, LevelL, 300},
		{1841, 0, LevelL, 306}, // version 32
		{1273, MaxSize, LevelH, MaxSize},
		{1274, MaxSize, LevelQ, MaxSize},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d bytes in %d", tt.bytes, tt.size), func(t *testing.T) {
			b := drawPNG(t, strings.Repeat("a", tt.bytes), Options{Size: tt.size, Level: LevelAuto})
			if _, level := zxing(t, b); level != tt.level {
				t.Errorf("level %s, want %s", level, tt.level)
			}
			if width := decode(t, b).Bounds().Dx(); width != tt.width {
				t.Errorf("%d pixels wide, want %d", width, tt.width)
			}
		})
	}
}

func TestColors(t *testing.T) {
	parse := func(s string) Color {
		t.Helper()
		c, err := ParseColor(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tests := []struct {
		name           string
		options        Options
		wantFg, wantBg color.RGBA
	}{
		{"default", Options{}, color.RGBA{A: 255}, color.RGBA{255, 255, 255, 255}},
		{"foreground", Options{Foreground: parse("rgb(4, 125, 130)")}, color.RGBA{4, 125, 130, 255}, color.RGBA{255, 255, 255, 255}},
		{"background", Options{Background: parse("#fc0")}, color.RGBA{A: 255}, color.RGBA{255, 204, 0, 255}},
		{"least contrast", Options{Foreground: parse("#989898")}, color.RGBA{152, 152, 152, 255}, color.RGBA{255, 255, 255, 255}},
		{"least contrast, dark", Options{Background: parse("#686868")}, color.RGBA{A: 255}, color.RGBA{104, 104, 104, 255}},
		{"both in color", Options{Foreground: parse("#800080"), Background: parse("#ff9")}, color.RGBA{128, 0, 128, 255}, color.RGBA{255, 255, 153, 255}},
	}
	var pngs [][]byte
	for _, tt := range tests {
		b := drawPNG(t, link(300), tt.options)
		pngs = append(pngs, b)
		if bg := decode(t, b).At(0, 0); bg != tt.wantBg {
			t.Errorf("%s: background %v, want %v", tt.name, bg, tt.wantBg)
		}
		if l := measure(t, b, tt.wantFg); l.scale < 2 {
			t.Errorf("%s: no symbol in color %v", tt.name, tt.wantFg)
		}
		if got, _ := zxing(t, b); got != link(300) {
			t.Errorf("%s: ZXing reads another content", tt.name)
		}
	}
	for i, got := range zbar(t, pngs) {
		if got != link(300) {
			t.Errorf("%s: zbar reads another content", tests[i].name)
		}
	}
}

func TestImpossibleOptions(t *testing.T) {
	light, dark := Color{250, 250, 250, true}, Color{10, 10, 10, true}
	tests := []struct {
		name    string
		content string
		options Options
		want    error
		message string
	}{
		{"empty", "", Options{}, ErrContent, "empty"},
		{"control character", "a\nb", Options{}, ErrContent, "byte 1"},
		{"not ASCII", "zürich", Options{}, ErrContent, "byte 1"},
		{"too long", link(2954), Options{}, ErrTooLong, "2954 bytes, at most 2953"},
		{"far too long", strings.Repeat("1", 1<<20), Options{}, ErrTooLong, "at most 2953"},
		{"too long for the level", link(1274), Options{Level: LevelH}, ErrTooLong, "at level H; a lower level"},
		{"size too small", "a", Options{Size: 63}, ErrSize, "63 is not between 64 and 1024"},
		{"size too large", "a", Options{Size: 1025}, ErrSize, "1025"},
		{"negative size", "a", Options{Size: -300}, ErrSize, "-300"},
		{"width too large", "a", Options{Width: 1 << 30, Height: 300}, ErrSize, "1073741824"},
		{"height too small", "a", Options{Size: 300, Height: 1}, ErrSize, "1 is not"},
		{"same colors", "a", Options{Foreground: white}, ErrColor, "too much alike"},
		{"little contrast", "a", Options{Foreground: Color{170, 170, 170, true}}, ErrColor, "#aaaaaa"},
		{"inverted", "a", Options{Foreground: light, Background: dark}, ErrColor, "must be darker"},
		{"dark ground", "a", Options{Background: dark}, ErrColor, "too much alike"},
		{"alike in Rec. 601", "a", Options{Foreground: Color{180, 180, 0, true}}, ErrColor, "too much alike"},
		{"alike for ZXing", "a", Options{Foreground: Color{0, 0, 255, true}, Background: Color{255, 187, 0, true}}, ErrColor, "too much alike"},
		{"alike, brighter or darker", "a", Options{Foreground: Color{0, 0, 255, true}, Background: Color{0, 80, 0, true}}, ErrColor, "too much alike"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := PNG(t.Context(), tt.content, tt.options)
			if b != nil || !errors.Is(err, tt.want) {
				t.Fatalf("got %d bytes and %v, want %v", len(b), err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error %q, want %q in it", err, tt.message)
			}
			if len(tt.content) > 2 && strings.Contains(err.Error(), tt.content[:3]) {
				t.Errorf("error %q holds the content", err)
			}
		})
	}
}

// A picture that is too small for its content grows to the smallest size that
// works, and no further.
func TestSmallest(t *testing.T) {
	for _, o := range []Options{{Size: MinSize}, {Width: MinSize, Height: 400}, {Size: 300, Level: LevelH}} {
		for _, n := range []int{300, 1000, 1250} {
			need, err := Smallest(link(n), o)
			if err != nil {
				t.Fatal(err)
			}
			picture := drawPNG(t, link(n), o)
			if got, _ := zxing(t, picture); got != link(n) {
				t.Errorf("%d bytes in %d pixels: ZXing reads another content", n, need)
			}
			config, err := png.DecodeConfig(bytes.NewReader(picture))
			width, height := o.pixels()
			if err != nil || config.Width != max(width, need) || config.Height != max(height, need) {
				t.Errorf("%d bytes: %d×%d, %v; %d are needed", n, config.Width, config.Height, err, need)
			}
			exact := drawPNG(t, link(n), Options{Size: need, Level: o.Level})
			if o.Width == 0 && need > o.Size && !bytes.Equal(picture, exact) {
				t.Errorf("%d bytes: it is not the picture of %d pixels", n, need)
			}
		}
	}
}

// FuzzSymbol draws symbols, without a picture round them, at each level. A decoder
// that we did not write reads the content, and the level.
func FuzzSymbol(f *testing.F) {
	f.Add("https://app.example.com/open?dispatchTokenResponse=eyJ", uint8(0))
	f.Add("0123456789ABC $%*+-./:", uint8(1))
	f.Add("0123456789ABC 8%*+)./:", uint8(2))
	f.Add("", uint8(3))
	f.Add("z\xfcrich\x00", uint8(0))
	f.Fuzz(func(t *testing.T, content string, n uint8) {
		content = content[:min(len(content), 100)] // larger ones take milliseconds
		level := []Level{LevelL, LevelM, LevelQ, LevelH}[n%4]
		drawn, pixels, err := draw(t.Context(), content, Options{Level: level}, DefaultSize)
		if printable := content != "" && strings.Trim(content, printableASCII) == ""; err != nil || !printable {
			if printable || !errors.Is(err, ErrContent) {
				t.Fatalf("%q: %v", content, err)
			}
			return
		}
		if need := minScale * (drawn.side + 2*quietZone); pixels != need {
			t.Errorf("%d modules are said to need %d pixels, want %d", drawn.side, pixels, need)
		}
		bits, err := gozxing.NewSquareBitMatrix(drawn.side)
		if err != nil {
			t.Fatal(err)
		}
		for y := range drawn.side {
			for x := range drawn.side {
				if drawn.rows[y].has(x) {
					bits.Set(x, y)
				}
			}
		}
		result, err := decoder.NewDecoder().Decode(bits, nil)
		if err != nil {
			t.Fatalf("%q cannot be decoded: %v", content, err)
		}
		if result.GetText() != content || result.GetECLevel() != string(level) || result.GetErrorsCorrected() > 0 {
			t.Errorf("drawn %q at level %s, read %q at level %s with %d errors", content, level, result.GetText(), result.GetECLevel(), result.GetErrorsCorrected())
		}
	})
}

// printableASCII are the bytes that a symbol can hold.
var printableASCII = func() (all string) {
	for c := ' '; c <= '~'; c++ {
		all += string(c)
	}
	return all
}()
