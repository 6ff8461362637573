package visualcode

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"testing"
)

func TestDigits(t *testing.T) {
	for _, digits := range []int{2, 4, 6, 8} {
		for _, token := range []string{"5c1fe0a2-7f1d-4f0e-9f5e-000000000000", "a", "b"} {
			got := Digits(token, digits)
			mac := hmac.New(sha256.New, []byte(token))
			mac.Write([]byte("oob-dispatch visual code v1"))
			modulus := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
			want := new(big.Int).Mod(new(big.Int).SetBytes(mac.Sum(nil)[:8]), modulus).String()
			for len(want) < digits {
				want = "0" + want
			}
			if got != want {
				t.Errorf("%d digits of %q: got %s, want %s", digits, token, got, want)
			}
		}
	}
	// The devices and both sides of a rolling upgrade have to agree on the code.
	for token, want := range map[string]string{"5c1fe0a2-7f1d-4f0e-9f5e-000000000000": "30651749", "token": "96499236", "": ""} {
		if got := Digits(token, 8); got != want {
			t.Errorf("%s: got %s, want %s", token, got, want)
		}
	}
	for _, digits := range []int{0, -1} {
		if got := Digits("a", digits); got != "" {
			t.Errorf("%d digits: got %q", digits, got)
		}
	}
}
