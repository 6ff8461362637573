package encrypt

import "math/big"

// fermatRounds is how many steps of Fermat's factoring are tried, as Boulder's
// goodkey does: it finds primes that are too close to each other.
const fermatRounds = 110

const squareModulus = 2 * 2 * 2 * 2 * 3 * 3 * 5 * 7

// squareRests tells which numbers are squares modulo squareModulus.
var squareRests = func() (rests [squareModulus]bool) {
	for i := range squareModulus {
		rests[i*i%squareModulus] = true
	}
	return rests
}()

// smallPrimes are the primes below 752, as in Boulder's goodkey.
var smallPrimes = func() (primes []int64) {
	for n := int64(2); n < 752; n++ {
		if big.NewInt(n).ProbablyPrime(0) { // which is sure of small numbers
			primes = append(primes, n)
		}
	}
	return primes
}()

var smallPrimeProduct = func() *big.Int {
	product := big.NewInt(1)
	for _, p := range smallPrimes {
		product.Mul(product, big.NewInt(p))
	}
	return product
}()

// rocaResidues maps each odd prime up to 167 to the residues that the powers
// of 65537 take modulo that prime.
var rocaResidues = func() map[int64][]bool {
	table := make(map[int64][]bool)
	for _, p := range smallPrimes {
		if p == 2 || p > 167 {
			continue
		}
		residues := make([]bool, p)
		for r := int64(1); !residues[r]; r = r * 65537 % p {
			residues[r] = true
		}
		table[p] = residues
	}
	return table
}()

// modulusWeakness says why an RSA modulus is known to be factorable, or "".
// The caller has bounded the size of n.
func modulusWeakness(n *big.Int) string {
	switch {
	case hasSmallFactor(n):
		return "the modulus has a factor below 752"
	case isROCA(n):
		return "the modulus bears the ROCA fingerprint (CVE-2017-15361)"
	case hasCloseFactors(n):
		return "the factors of the modulus are too close to each other"
	}
	return ""
}

func hasSmallFactor(n *big.Int) bool {
	return new(big.Int).GCD(nil, nil, n, smallPrimeProduct).Cmp(big.NewInt(1)) != 0
}

// isROCA tells whether n was made by the Infineon library of CVE-2017-15361:
// its moduli are powers of 65537 modulo every small prime. About one good
// modulus in 2^28 is hit by chance.
func isROCA(n *big.Int) bool {
	r := new(big.Int)
	for p, residues := range rocaResidues {
		if !residues[r.Mod(n, big.NewInt(p)).Int64()] {
			return false
		}
	}
	return true
}

// hasCloseFactors looks for a and b with n = a² - b², a just above the root.
func hasCloseFactors(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	if isSquare(n) {
		return true
	}
	// Roots of large numbers are dear: take them only where a² - n is a
	// square modulo squareModulus, which one number in 26 is.
	modulus := big.NewInt(squareModulus)
	aRest := new(big.Int).Mod(a, modulus).Int64()
	nRest := new(big.Int).Mod(n, modulus).Int64()
	for i := int64(1); i <= fermatRounds; i++ {
		rest := (aRest+i)*(aRest+i) - nRest + squareModulus // not negative
		if !squareRests[rest%squareModulus] {
			continue
		}
		b2 := new(big.Int).Add(a, big.NewInt(i))
		if isSquare(b2.Mul(b2, b2).Sub(b2, n)) {
			return true
		}
	}
	return false
}

func isSquare(n *big.Int) bool {
	root := new(big.Int).Sqrt(n)
	return root.Mul(root, root).Cmp(n) == 0
}
