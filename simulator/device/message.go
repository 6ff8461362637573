package device

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Message is an opened out-of-band message.
type Message struct {
	Token     string
	RedeemURL string
	// Sealed reports whether the message came as JWE.
	Sealed bool
	// KeyThumbprint names the key that opened it (RFC 7638); "" in clear.
	KeyThumbprint string

	members map[string]json.RawMessage
}

func parseMessage(text []byte) (Message, error) {
	var m Message
	if !utf8.Valid(text) || json.Unmarshal(text, &m.members) != nil {
		return Message{}, errors.New("the message is not a JSON object")
	}
	for name, to := range map[string]*string{"token": &m.Token, "redeem_url": &m.RedeemURL} {
		if json.Unmarshal(m.members[name], to) != nil || *to == "" {
			return Message{}, fmt.Errorf("the message has no %s", name)
		}
	}
	return m, nil
}

// Operation returns the operation to which the redeem URL belongs.
func (m Message) Operation() nevisfido.Operation { return operationOf(m.RedeemURL) }

// Member returns the JSON text of a member of the message, such as one that the
// relying party gave in dispatchInformation.data; nil where there is none.
func (m Message) Member(name string) []byte { return bytes.Clone(m.members[name]) }

// Len returns the number of members, token and redeem_url included.
func (m Message) Len() int { return len(m.members) }

// VisualCode returns the code to compare with the one on the other screen.
func (m Message) VisualCode(digits int) string { return VisualCode(m.Token, digits) }

// String tells nothing secret.
func (m Message) String() string { return "message for " + string(m.Operation()) }

// GoString is String, for the verb %#v.
func (m Message) GoString() string { return m.String() }

// visualCodeLabel separates the visual code from any other use of a token.
const visualCodeLabel = "oob-dispatch visual code v1"

// VisualCode derives the digits that the user compares (or types in) from a
// token: HMAC-SHA-256 with the token as key over the text
// "oob-dispatch visual code v1", of which the first eight bytes, read as a
// big-endian number modulo 10^digits, are printed with leading zeros. digits is
// 2 to 8; it panics on any other number.
func VisualCode(token string, digits int) string {
	if digits < 2 || digits > 8 {
		panic(fmt.Sprintf("a visual code of %d digits", digits))
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(visualCodeLabel))
	modulus := uint64(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, binary.BigEndian.Uint64(mac.Sum(nil))%modulus)
}

// Interface guards
var (
	_ fmt.Stringer   = Message{}
	_ fmt.GoStringer = Message{}
)
