package webhook

import (
	"strings"
	"unicode/utf16"
)

// The GSM 7 bit default alphabet and its extension table (3GPP TS 23.038,
// section 6.2.1). A character of the extension takes two septets.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// segments returns how many SMS a text needs: one of 140 bytes, or several
// that lose 6 bytes to the header that joins them (3GPP TS 23.040, section
// 9.2.3.24.1). No character is cut in two.
func segments(text string) int {
	single, part, width := 160, 153, gsmWidth
	if strings.ContainsFunc(text, func(r rune) bool { return gsmWidth(r) == 0 }) {
		single, part, width = 70, 67, utf16.RuneLen
	}
	total, parts, used := 0, 1, 0
	for _, r := range text {
		n := width(r)
		total += n
		if used+n > part {
			parts, used = parts+1, 0
		}
		used += n
	}
	if total <= single {
		return 1
	}
	return parts
}

// gsmWidth returns the septets of a character; 0 if it is not in the alphabet.
func gsmWidth(r rune) int {
	switch {
	case strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmExtension, r):
		return 2
	}
	return 0
}
