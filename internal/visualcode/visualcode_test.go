package visualcode

import "testing"

func TestDigits(t *testing.T) {
	// The devices and both sides of a rolling upgrade have to agree on the code.
	for token, want := range map[string]string{"5c1fe0a2-7f1d-4f0e-9f5e-000000000000": "30651749", "token": "96499236", "c": "00476923", "": ""} {
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
