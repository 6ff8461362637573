package encrypt_test

import (
	"math/big"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// rsaJWK writes a modulus and an exponent as JWK.
func rsaJWK(tb testing.TB, n *big.Int, e int64) []byte {
	tb.Helper()
	return toJSON(tb, map[string]string{"kty": "RSA", "n": encode(n.Bytes()), "e": encode(big.NewInt(e).Bytes())})
}

func power2(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }

// oddPrimes returns the odd primes up to limit.
func oddPrimes(limit int64) []*big.Int {
	var primes []*big.Int
	for n := int64(3); n <= limit; n += 2 {
		if big.NewInt(n).ProbablyPrime(0) {
			primes = append(primes, big.NewInt(n))
		}
	}
	return primes
}

// withoutSmallFactors returns the first number from n on, in steps, that no
// prime below 752 divides. The checks of a modulus need no more than that.
func withoutSmallFactors(n, step *big.Int) *big.Int {
	primes := append(oddPrimes(751), big.NewInt(2))
	n = new(big.Int).Set(n)
	for slices.ContainsFunc(primes, func(p *big.Int) bool { return new(big.Int).Mod(n, p).Sign() == 0 }) {
		n.Add(n, step)
	}
	return n
}

// sturdyModulus is a modulus of the given bits that passes for a good one.
func sturdyModulus(bits uint) *big.Int {
	third := new(big.Int).Div(power2(bits), big.NewInt(3))
	return withoutSmallFactors(new(big.Int).Add(power2(bits-1), third.Rsh(third, 3)), big.NewInt(1))
}

// closeModulus is the product of two 1,024-bit numbers that Fermat's method
// finds after about the given number of rounds: the distance of the factors is
// the root of rounds times 8 times the root of the modulus.
func closeModulus(rounds int64) *big.Int {
	p := withoutSmallFactors(new(big.Int).Add(power2(1023), power2(1022)), big.NewInt(1))
	distance := new(big.Int).Mul(p, big.NewInt(8*rounds))
	q := withoutSmallFactors(new(big.Int).Add(p, distance.Sqrt(distance)), big.NewInt(1))
	return p.Mul(p, q)
}

// rocaModulus is built as the library of CVE-2017-15361 built keys of 2,048
// bits: factors k·M + (65537^a mod M), M the product of the first 126 primes.
func rocaModulus() *big.Int {
	m := big.NewInt(2)
	for _, p := range oddPrimes(701) {
		m.Mul(m, p)
	}
	factor := func(a, k int64) *big.Int {
		p := new(big.Int).Exp(big.NewInt(65537), big.NewInt(a), m)
		shift := uint(1023 - m.BitLen())
		multiple := new(big.Int).Mul(m, new(big.Int).Add(power2(shift), big.NewInt(k)))
		return withoutSmallFactors(p.Add(p, multiple.Add(multiple, new(big.Int).Lsh(m, shift-1))), m)
	}
	return new(big.Int).Mul(factor(12345, 678), factor(54321, 1<<40))
}

func TestFermatFindsEveryRound(t *testing.T) {
	for rounds := int64(2); rounds < 108; rounds += 5 {
		_, err := encrypt.ParseKey(rsaJWK(t, closeModulus(rounds), 65537), encrypt.Policy{})
		checkReason(t, err, encrypt.ReasonRSAWeakModulus)
	}
}

func TestWeakModuliAreRefused(t *testing.T) {
	smooth := new(big.Int).Sub(power2(2048), big.NewInt(1))
	square := withoutSmallFactors(new(big.Int).Add(power2(1023), power2(1022)), big.NewInt(1))
	with751 := new(big.Int).Div(sturdyModulus(2048), big.NewInt(751))
	with751 = withoutSmallFactors(with751, big.NewInt(1))
	with757 := withoutSmallFactors(new(big.Int).Div(sturdyModulus(2048), big.NewInt(757)), big.NewInt(1))
	tests := []struct {
		name    string
		modulus *big.Int
		weak    bool
	}{
		{"all ones", smooth, true},
		{"even", new(big.Int).Add(sturdyModulus(2048), big.NewInt(1)), true},
		{"factor 751", with751.Mul(with751, big.NewInt(751)), true},
		{"factor 757, beyond the bound", with757.Mul(with757, big.NewInt(757)), false},
		{"square", square.Mul(square, square), true},
		{"factors next to each other", closeModulus(1), true},
		{"factors found after 100 rounds", closeModulus(100), true},
		{"factors found after 130 rounds, beyond the bound", closeModulus(130), false},
		{"ROCA", rocaModulus(), true},
		{"sturdy", sturdyModulus(2048), false},
		{"sturdy, largest size", sturdyModulus(4096), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if bits := tt.modulus.BitLen(); bits != 2048 && bits != 4096 {
				t.Fatalf("the modulus has %d bits: another rule would refuse it", bits)
			}
			_, err := encrypt.ParseKey(rsaJWK(t, tt.modulus, 65537), encrypt.Policy{})
			want := encrypt.Reason("")
			if tt.weak {
				want = encrypt.ReasonRSAWeakModulus
			}
			checkReason(t, err, want)
		})
	}
}
