package encrypt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

const (
	maxCompact   = 1 << 20   // bytes of a compact JWE or JWS
	maxHeader    = 8 << 10   // bytes of its header, still encoded
	maxPlaintext = 512 << 10 // bytes; sealed, they stay below maxCompact
)

// sealedAlgs and sealedEncs are what nevisFIDO documents (RSA-OAEP-256 with
// A256CBC-HS512), and what [Key.Seal] uses. With dir, the text might be
// readable by everybody who has a key in common, or be no ciphertext at all.
var (
	sealedAlgs = append([]string{algRSA}, algsECDH...)
	sealedEncs = []string{encRSA, encEC}
)

// IsSealed tells whether text looks like a compact JWE (RFC 7516 section 7.1):
// five base64url parts of 1 MiB at most in total, whose header is a JSON object
// with an alg and an enc that nevisFIDO or [Key.Seal] uses. It exists so that
// nothing is sealed twice, and says nothing about who can open the message.
func IsSealed(text string) bool {
	parts, err := splitCompact(text, 5)
	if err != nil || parts[2] == "" || parts[4] == "" {
		return false
	}
	header, err := readHeader(parts[0])
	return err == nil && slices.Contains(sealedAlgs, header.Member("alg").Text()) && slices.Contains(sealedEncs, header.Member("enc").Text())
}

// UnverifiedPayload returns the payload of a compact JWS of 1 MiB at most
// without looking at its signature. It is for reading only: never act on it
// before [SignatureKey.Verify], or somebody else who verified it, agreed.
func UnverifiedPayload(jws string) ([]byte, error) {
	parts, _, err := splitJWS(jws)
	if err != nil {
		return nil, fmt.Errorf("reading JWS: %w", err)
	}
	return base64URL.DecodeString(parts[1])
}

// splitJWS takes a compact JWS apart and parses its header.
func splitJWS(jws string) (parts []string, header strictjson.Value, err error) {
	if parts, err = splitCompact(jws, 3); err != nil {
		return nil, header, err
	}
	if header, err = readHeader(parts[0]); err != nil {
		return nil, header, err
	}
	if parts[1] == "" {
		return nil, header, errors.New("the payload is empty or detached")
	}
	return parts, header, nil
}

// splitCompact takes a compact serialization of n parts apart, each of which is
// base64url. Length and dots are counted before anything is allocated.
func splitCompact(text string, n int) ([]string, error) {
	if len(text) > maxCompact {
		return nil, fmt.Errorf("message is longer than %d bytes", maxCompact)
	}
	if strings.Count(text, ".") != n-1 {
		return nil, fmt.Errorf("message does not have %d parts", n)
	}
	parts := strings.Split(text, ".")
	for i, part := range parts {
		if !isBase64URL(part) {
			return nil, fmt.Errorf("part %d is not base64url without padding", i+1)
		}
	}
	return parts, nil
}

// readHeader parses the protected header of a compact JWE or JWS.
func readHeader(part string) (strictjson.Value, error) {
	if len(part) > maxHeader {
		return strictjson.Value{}, fmt.Errorf("header is longer than %d bytes", maxHeader)
	}
	data, _ := base64URL.DecodeString(part) // splitCompact has checked it
	return strictjson.ParseObject(data)
}

// base64URL is base64url without padding (RFC 7515 section 2), where each
// value has one spelling only.
var base64URL = base64.RawURLEncoding.Strict()

// isBase64URL tells whether s can be decoded, without decoding all of it. It
// refuses line breaks too, which encoding/base64 skips.
func isBase64URL(s string) bool {
	for _, c := range s {
		if !isBase64URLChar(c) {
			return false
		}
	}
	// Only the last incomplete group of four can be wrong now.
	_, err := base64URL.DecodeString(s[len(s)&^3:])
	return err == nil
}

func isBase64URLChar(c rune) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
