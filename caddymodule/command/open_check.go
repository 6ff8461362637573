package command

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// maxPush is what FCM takes of names and values of data, title and body
// together, in bytes.
const maxPush = 4096

func (o *opened) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

func (o *opened) checkLink(base string) {
	if err := nevisfido.ValidBaseURL(base); err != nil {
		o.problem("the link opens no app: %v", err)
	} else if strings.HasPrefix(strings.ToLower(base), "http:") {
		o.problem("the link is http: phones open apps for https links and for the app's own scheme")
	}
}

var asAppsReadIt = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkEncoded: some apps neither decode percent-encoding nor know the standard
// alphabet, and one splits the link at each "=" (docs/protocol.md).
func (o *opened) checkEncoded(value string) {
	if !asAppsReadIt.MatchString(value) {
		o.problem("the message is not base64url without padding: some apps read it as it stands, without percent-decoding")
	}
}

func (o *opened) checkPush(data strictjson.Value) {
	for _, name := range []string{"nma_data", "nma_data_content_type", "nma_data_version"} {
		if data.Find(name).Kind() != '"' {
			o.problem("the member %s of the push message is no string: FCM takes only strings", name)
		}
	}
	if o.Push.Form != "message" {
		return // it has arrived
	}
	if o.Push.Title == "" && o.Push.Body == "" {
		o.problem("the push message has neither title nor body: an iOS app gets it when the user taps the notification")
	}
	if o.Push.Size > maxPush {
		o.problem("the push message has %d bytes, FCM takes %d", o.Push.Size, maxPush)
	}
}

func (o *opened) checkEnvelope(e nevisfido.Envelope) {
	text, isText := e.Text()
	looksSealed := isText && !strings.HasPrefix(strings.TrimSpace(text), "{")
	switch {
	case e.ContentType != nevisfido.ContentTypePlain && e.ContentType != nevisfido.ContentTypeSealed:
		o.problem("nma_data_content_type is neither %s nor %s", nevisfido.ContentTypePlain, nevisfido.ContentTypeSealed)
	case looksSealed && e.ContentType == nevisfido.ContentTypePlain:
		o.problem("nma_data is text that is no JSON, but its content type says %s", e.ContentType)
	case !looksSealed && e.ContentType == nevisfido.ContentTypeSealed:
		o.problem("nma_data is not encrypted, but its content type says %s", e.ContentType)
	case !looksSealed && o.Push != nil:
		o.problem("the push message is not encrypted: everybody on the way can read it")
	}
	if e.Version != nevisfido.EnvelopeVersion {
		o.problem("nma_data_version is not %q, the only one that is known", nevisfido.EnvelopeVersion)
	}
}

func (o *opened) checkJWE(header strictjson.Value, sealed bool) {
	if !sealed {
		o.problem("the JWE is not one that nevisFIDO documents or that the sidecar makes: " +
			"five parts in base64url, RSA-OAEP-256 with A256CBC-HS512, or ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW with A256GCM")
	}
	for name := range header.Children() {
		switch name {
		case "alg", "enc", "epk":
		default:
			o.problem("the header of the JWE has a member %s: nevisFIDO documents alg and enc alone", printable(name))
		}
	}
}

func (o *opened) checkContent(content nevisfido.Content, object strictjson.Value) {
	if content.Token == "" {
		o.problem("the payload has no token")
	}
	if err := object.RefuseVariants("token", "redeem_url"); err != nil {
		o.problem("the payload: %v", err)
	}
	u, err := url.Parse(content.RedeemURL)
	switch {
	case content.RedeemURL == "":
		o.problem("the payload has no redeem_url")
	case err != nil || u.Host == "":
		o.problem("redeem_url is not the URL of a server")
	case u.Scheme != "https":
		o.problem("redeem_url is not https: phones refuse such connections")
	}
}

// holdsToken tells whether a member must not be shown.
func holdsToken(name string, value strictjson.Value, token string) bool {
	return strings.EqualFold(name, "token") || token != "" && (strings.Contains(string(value.Raw()), token) || tells(value, token))
}

// tells reports whether a name or text in a value holds a text, however it is
// escaped.
func tells(value strictjson.Value, text string) bool {
	if strings.Contains(value.Text(), text) {
		return true
	}
	for name, child := range value.Children() {
		if strings.Contains(name, text) || tells(child, text) {
			return true
		}
	}
	return false
}
