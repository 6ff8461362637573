package shapes

import (
	"regexp"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// maxName bounds the names that are told, in bytes.
const maxName = 40

// masked stands for all names of an object that are not told. It is no name
// that could be.
const masked = "(masked)"

// documented are the names that are always told: those of nevisFIDO's reference
// guide, of FIDO UAF, of the out-of-band payload, and of JOSE.
var documented = words(`
	dispatchTargetId dispatcher dispatchInformation notification data encodingParameters getUafRequest
	width height foregroundColor backgroundColor title body op context previousRequest username transaction contentType content
	token sessionId dispatcherInformation name response dispatchResult
	deviceId target signatureKey encryptionKey signingKey id extId dispatchTargets dispatchTarget targetId
	requestId creationTimeInEpochMillis uafResponse uafRequest statusCode description asmStatusCode
	nma_data nma_data_content_type nma_data_version redeem_url dispatchTokenResponse
	kty crv n e x y use alg enc kid key_ops epk typ cty apu apv`)

// callers are members whose content relying parties and authenticators choose:
// of what is below them, documented names alone are told.
var callers = words("data nma_data notification transaction uafResponse uafRequest")

const dispatchResults = "dispatched dispatchError dispatchTargetExpired dispatchTargetNotFound dispatcherNotFound userNotFound internalError"

// DispatchResults returns the values of dispatchResult that are documented.
func DispatchResults() []string { return strings.Fields(dispatchResults) }

// constants are the values that say what a message is, and nothing of anybody.
// They count as types.
var constants = map[string]map[string]bool{
	"dispatchResult": words(dispatchResults),
	"dispatcher":     builtIn,
	"name":           builtIn,
	"op":             words("Reg Auth Dereg"),
	// FIDO UAF application API, section 3.1
	"statusCode":            words("1200 1202 1400 1401 1403 1404 1408 1480 1481 1482 1483 1484 1485 1490 1491 1492 1493 1494 1495 1496 1497 1498 1500"),
	"nma_data_content_type": words(nevisfido.ContentTypePlain + " " + nevisfido.ContentTypeSealed),
	"nma_data_version":      words(nevisfido.EnvelopeVersion),
	"kty":                   words("RSA EC OKP oct"),
	"crv":                   words("P-256 P-384 P-521 X25519 Ed25519"),
	"use":                   words("enc sig"),
	"alg":                   words("RSA-OAEP RSA-OAEP-256 RSA1_5 ECDH-ES ECDH-ES+A256KW RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA none"),
	"enc":                   words("A128CBC-HS256 A256CBC-HS512 A128GCM A256GCM"),
}

var builtIn = words(nevisfido.BuiltInFCM + " " + nevisfido.BuiltInLink + " " + nevisfido.BuiltInQRCode + " " + nevisfido.BuiltInLinkQR)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		set[word] = true
	}
	return set
}

// tellable matches undocumented names that look as if a programmer chose them:
// words of letters, in camel case or with underscores, and at most a digit at the
// end. Ids, addresses, numbers, host names and base64 do not.
var tellable = regexp.MustCompile(`^[A-Za-z][a-z]+(_?[A-Za-z][a-z]*){0,6}[0-9]?$`)
