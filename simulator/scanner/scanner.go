// Package scanner is a simulated camera in front of a letter: it draws the
// filled rectangles of a PDF page as a scan at 200 dpi would show them, and
// reads the QR code in it. It knows as much of PDF as letters use.
package scanner

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"regexp"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/qrscan"
)

const (
	pixelsPerPoint = 200.0 / 72
	height         = 841.89 // of A4 in points
	maxStream      = 8 << 20
)

// A stream keeps the line break before its end: compressed data knows its own
// end, and its last byte may look like a part of that break.
var stream = regexp.MustCompile(`(?s)stream\r?\n(.*?)endstream`)

// QRCode returns the content of the QR code on the first page of a PDF that
// has one.
func QRCode(pdf []byte) (string, error) {
	for _, match := range stream.FindAllSubmatch(pdf, -1) {
		content, err := inflate(match[1])
		if err != nil {
			continue // not compressed, or a font
		}
		if text, err := qrscan.Text(draw(string(content))); err == nil {
			return text, nil
		}
	}
	return "", errors.New("no page of the PDF shows a QR code")
}

func inflate(compressed []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxStream))
}

// draw fills the rectangles of a page's content in black.
func draw(content string) image.Image {
	page := image.NewGray(image.Rect(0, 0, 1654, 2339))
	for i := range page.Pix {
		page.Pix[i] = 0xff
	}
	for line := range strings.SplitSeq(content, "\n") {
		var x, y, w, h float64
		if n, err := fmt.Sscanf(line, "%f %f %f %f re", &x, &y, &w, &h); err != nil || n != 4 || !strings.HasSuffix(line, " re") {
			continue
		}
		pixel := func(points float64) int { return int(math.Round(points * pixelsPerPoint)) }
		for row := pixel(height - y - h); row < pixel(height-y); row++ {
			for column := pixel(x); column < pixel(x+w); column++ {
				page.SetGray(column, row, color.Gray{})
			}
		}
	}
	return page
}
