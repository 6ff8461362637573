package testservice

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Find returns where in a text a secret stands, in whichever spelling; -1 if it
// does not.
func Find(text, secret string) int {
	for spelling := range spellings(secret) {
		if i := strings.Index(text, spelling); i >= 0 {
			return i
		}
	}
	return -1
}

// spellings are the ways in which a secret may be written: as it is, percent-
// encoded, in a JSON or Go string, in hex, and in base64, in which a secret within
// a longer text looks in three ways, as its first byte may be any of three.
func spellings(secret string) iter.Seq[string] {
	var percent, escaped strings.Builder
	for _, b := range []byte(secret) {
		fmt.Fprintf(&percent, "%%%02X", b)
	}
	for _, unit := range utf16.Encode([]rune(secret)) {
		fmt.Fprintf(&escaped, `\u%04x`, unit)
	}
	inner := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	inJSON := func(text string) string {
		quoted, _ := json.Marshal(text) // strings can always be encoded
		return inner(string(quoted))
	}
	return func(yield func(string) bool) {
		for _, spelling := range []string{
			secret, inJSON(secret), inJSON(inJSON(secret)), inner(strconv.Quote(secret)), inner(strconv.QuoteToASCII(secret)),
			strings.ReplaceAll(secret, "/", `\/`), escaped.String(),
			url.QueryEscape(secret), url.PathEscape(secret), percent.String(), strings.ToLower(percent.String()),
			hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		} {
			if !yield(spelling) {
				return
			}
		}
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for before := range 3 {
				// Characters that also hold bits of what comes before or after are cut off.
				text := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
				end := (before + len(secret)) * 8 / 6
				if !yield(text[(before*8+5)/6 : end]) {
					return
				}
			}
		}
	}
}
