package encrypt

import "fmt"

// Reason says in one snake_case word why a key was refused. The set is closed,
// so a Reason is fit for a metric label.
type Reason string

// Why a key is refused.
const (
	ReasonTooLarge        Reason = "too_large"        // JWK beyond 16 KiB, or key id beyond 256 bytes
	ReasonMalformed       Reason = "malformed"        // not one strict JWK object
	ReasonPrivateMembers  Reason = "private_members"  // private or symmetric key material
	ReasonUnsupportedType Reason = "unsupported_type" // kty that cannot serve the purpose
	ReasonWrongUse        Reason = "wrong_use"        // use names another purpose
	ReasonWrongOperations Reason = "wrong_operations" // key_ops names other purposes only
	ReasonWrongAlgorithm  Reason = "wrong_algorithm"  // alg is not on the list for this key
	ReasonRSASize         Reason = "rsa_size"         // modulus not of 2048, 3072 or 4096 bits, or below the policy
	ReasonRSAExponent     Reason = "rsa_exponent"     // public exponent is not 65537
	ReasonRSAWeakModulus  Reason = "rsa_weak_modulus" // modulus can be factored
	ReasonCurve           Reason = "curve"            // not P-256, P-384 or P-521
	ReasonNotOnCurve      Reason = "not_on_curve"     // coordinates are no point of the curve
)

// KeyError tells why a key was refused. Its text holds no key material.
type KeyError struct {
	Reason Reason
	detail string
}

// Error says what is wrong with the key.
func (e *KeyError) Error() string {
	return "key refused (" + string(e.Reason) + "): " + e.detail
}

func refuse(r Reason, format string, args ...any) error {
	return &KeyError{Reason: r, detail: fmt.Sprintf(format, args...)}
}

// shown quotes a short name from a JWK for an error text. Whatever does not
// look like a name of the JOSE registries is not repeated.
func shown(name string) string {
	if name == "" || len(name) > 24 {
		return "unreadable"
	}
	for _, c := range name {
		if !isBase64URLChar(c) && c != '+' {
			return "unreadable"
		}
	}
	return `"` + name + `"`
}

// Interface guard
var _ error = (*KeyError)(nil)
