package device

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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

	members map[string]jsontext.Value
}

func parseMessage(text []byte) (Message, error) {
	var m Message
	if json.Unmarshal(text, &m.members) != nil {
		return Message{}, errors.New("the message is not a JSON object")
	}
	for name, to := range map[string]*string{"token": &m.Token, "redeem_url": &m.RedeemURL} {
		if json.Unmarshal(m.members[name], to) != nil || *to == "" {
			return Message{}, fmt.Errorf("the message has no %s", name)
		}
	}
	return m, nil
}

// Operation returns the operation to which the redeem URL belongs: its last
// segment.
func (m Message) Operation() nevisfido.Operation {
	return nevisfido.Operation(path.Base(m.RedeemURL))
}

// Member returns the JSON text of a member of the message, such as one that the
// relying party gave in dispatchInformation.data; nil where there is none.
func (m Message) Member(name string) []byte { return bytes.Clone(m.members[name]) }

// visualCodeLabel separates the visual code from any other use of a token.
const visualCodeLabel = "oob-dispatch visual code v1"

// VisualCode derives the digits that the user compares (or types in) from the
// token: HMAC-SHA-256 with the token as key over the text
// "oob-dispatch visual code v1", of which the first eight bytes, read as a
// big-endian number modulo 10^digits, are printed with leading zeros. digits is
// 2 to 8.
func (m Message) VisualCode(digits int) string {
	mac := hmac.New(sha256.New, []byte(m.Token))
	mac.Write([]byte(visualCodeLabel))
	return fmt.Sprintf("%0*d", digits, binary.BigEndian.Uint64(mac.Sum(nil))%uint64(math.Pow10(digits)))
}
