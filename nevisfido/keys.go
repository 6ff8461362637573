package nevisfido

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// Keys are the keys of a dispatch target: JWK objects, or whatever stands where
// a key belongs, to be refused when it is vetted. What there is not is nil.
type Keys struct {
	Encryption, Signature []byte

	// Unclear tells that there are keys, and that nothing tells which one
	// encrypts. Then neither is given, unless a documented name gives it.
	Unclear bool
}

// Documented names of the keys, of nevisFIDO and of nevisIDM.
var (
	encryptionNames = []string{"encryptionKey"}
	signatureNames  = []string{"signatureKey", "signingKey"}
)

// plainMembers are members of a target, or of a request about it, that are
// documented and hold no key.
var plainMembers = []string{
	"username", "deviceId", "name", "target", "dispatcher", "dispatchTargetId", "requestId", "creationTimeInEpochMillis",
	"fidouaf_name", "fidouaf_device_id", "fidouaf_target", "fidouaf_dispatcher",
}

// FindKeys picks the keys among the properties of a generic credential in
// nevisIDM. No reference names these properties. A lone key of which nothing
// tells what it is for is the signature key, unless it is an RSA key: nevisIDM
// wants every target to have one.
func FindKeys[V ~[]byte](properties map[string]V) Keys {
	var s keySearch
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		s.member(name, jsontext.Value(properties[name]))
	}
	return s.keys(signing)
}

// maxFound bounds what is kept of a search: with so many nothing is certain.
const maxFound = 16

// keySearch looks for keys by their shape, at any depth: documented names win,
// then what a key says of itself, then names that speak, then the type.
type keySearch struct {
	scan       scan
	documented Keys
	found      []jwk
	unreadable bool // something looks like a key and cannot be read
}

// member takes in a member of the object that is searched.
func (s *keySearch) member(name string, value jsontext.Value) {
	switch {
	case slices.Contains(plainMembers, name) || value.Kind() == 'n':
	case slices.Contains(encryptionNames, name):
		s.documented.Encryption = keyWithin(value)
	case slices.Contains(signatureNames, name):
		s.documented.Signature = keyWithin(value)
	default:
		s.value(name, value)
	}
}

// value searches a member's value.
func (s *keySearch) value(name string, value jsontext.Value) {
	s.search(namesSay{}.below(name), s.scan.read(value), 0)
	s.unreadable = s.unreadable || s.scan.over
}

// keyWithin returns the one JWK that a value is or holds, or else the value.
func keyWithin(value jsontext.Value) []byte {
	var inside keySearch
	inside.value("", value)
	if len(inside.found) == 1 && !inside.unreadable {
		return inside.found[0].text
	}
	return value
}

// search takes in all keys below a name, and returns whether there are any.
func (s *keySearch) search(names namesSay, value place, level int) (some bool) {
	if key, ok := s.scan.jwk(value); ok {
		// A key that its name calls an encryption key is vetted as one, lest
		// another purpose that it names lets the target pass for keyless.
		if key.purpose == unsaid || names.purpose == encrypting {
			key.purpose = names.purpose
		}
		s.add(key)
		return true
	}
	for name, part := range s.scan.parts(value, level) {
		some = s.search(names.below(name), part, level+1) || some
	}
	text := value.text()
	if !some && names.callEncryptionKey() && holdsSomething(text) {
		s.add(jwk{text: text, purpose: encrypting}) // to be refused
		return true
	}
	if !some && text.Kind() == '"' {
		s.unreadable = s.unreadable || bytes.Contains(unquoted(text), []byte(`"kty"`))
	}
	return some
}

// add keeps a key once, although it may stand in several places.
func (s *keySearch) add(key jwk) {
	for i, other := range s.found {
		if !bytes.Equal(other.text, key.text) {
			continue
		}
		switch {
		case other.purpose == unsaid:
			s.found[i].purpose = key.purpose
		case key.purpose != unsaid && key.purpose != other.purpose:
			s.found[i].purpose = unsaid
		}
		return
	}
	if len(s.found) == maxFound {
		s.unreadable = true
		return
	}
	s.found = append(s.found, key)
}

// keys sorts what was found. lone is what a key that is no RSA key is taken for
// where it is the only one and nothing tells; with unsaid it is unclear, and no
// key is taken for the signature key without a hint.
func (s *keySearch) keys(lone purpose) Keys {
	keys := s.documented
	if present(keys.Encryption) && present(keys.Signature) {
		return keys
	}
	said := make(map[purpose][][]byte)
	var rsa, other [][]byte
	for _, key := range s.found {
		switch {
		case key.purpose != unsaid:
			said[key.purpose] = append(said[key.purpose], key.text)
		case key.rsa:
			rsa = append(rsa, key.text)
		default:
			other = append(other, key.text)
		}
	}
	encryption, signature := said[encrypting], said[signing]
	if present(keys.Encryption) {
		encryption = [][]byte{keys.Encryption}
	}
	if present(keys.Signature) {
		signature = [][]byte{keys.Signature}
	}
	take := func(place, from *[][]byte) {
		if len(*place) == 0 {
			*place, *from = *from, nil
		}
	}
	take(&encryption, &rsa)
	alone := len(encryption)+len(signature) == 0 && len(other) == 1
	if lone == signing || lone == encrypting && !alone {
		take(&signature, &other)
	}
	if len(signature) > 0 || lone == encrypting {
		take(&encryption, &other)
	}
	if lone != unsaid {
		take(&signature, &rsa)
	}
	if s.unreadable || len(encryption) > 1 || len(signature) > 1 || len(rsa)+len(other) > 0 {
		keys.Unclear = true
		return keys
	}
	return Keys{Encryption: only(encryption, keys.Encryption), Signature: only(signature, keys.Signature)}
}

func only(list [][]byte, otherwise []byte) []byte {
	if len(list) == 0 {
		return otherwise
	}
	return list[0]
}

// present tells whether a member brings something.
func present(value []byte) bool { return len(value) > 0 && string(value) != `""` }

func holdsSomething(value jsontext.Value) bool {
	switch value.Kind() {
	case '{', '[':
		return len(bytes.Trim(value, "{[ \t\r\n]}")) > 0
	case '"':
		return len(bytes.TrimSpace(unquoted(value))) > 0
	}
	return false
}

// namesSay is what the names of a value and of all around it say.
type namesSay struct {
	purpose purpose // as the innermost that tells has it
	key     bool    // one of them speaks of a key
	ends    bool    // the innermost ends as the name of a key may
}

// below adds the name of a member. Elements of arrays have none.
func (n namesSay) below(name string) namesSay {
	if name == "" {
		return n
	}
	n.ends = false
	encrypts, signs := false, false
	for _, word := range words(name) {
		encrypts = encrypts || word == "enc" || strings.HasPrefix(word, "encr") || strings.HasPrefix(word, "enckey") || strings.HasPrefix(word, "decr")
		signs = signs || word == "sig" || strings.HasPrefix(word, "sign") || strings.HasPrefix(word, "sigkey") || strings.HasPrefix(word, "verif")
		n.key = n.key || strings.HasSuffix(word, "key") || strings.HasSuffix(word, "keys") || strings.HasPrefix(word, "jwk")
		switch word {
		case "key", "keys", "jwk", "jwks", "enc", "enckey", "encryption", "pem", "der":
			n.ends = true
		default:
			n.ends = false
		}
	}
	switch {
	case encrypts && !signs:
		n.purpose = encrypting
	case signs && !encrypts:
		n.purpose = signing
	}
	return n
}

// callEncryptionKey tells whether names leave no doubt that the value is an
// encryption key, whatever its form: encryptionKey, keys.encryption, but not
// encryptionKeyId.
func (n namesSay) callEncryptionKey() bool { return n.purpose == encrypting && n.key && n.ends }

// words splits a member's name, such as encryptionPublicKey or encryption_key,
// into lower-case words. A name that is longer than any that could tell
// something has none.
func words(name string) []string {
	if len(name) > maxName {
		return nil
	}
	var all []string
	runes := []rune(name)
	start := 0
	cut := func(end, next int) {
		if end > start {
			all = append(all, strings.ToLower(string(runes[start:end])))
		}
		start = next
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			cut(i, i+1)
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			cut(i, i)
		}
	}
	cut(len(runes), len(runes))
	return all
}

// plain is a name without anything that only spelling conventions differ in.
func plain(name string) string {
	if len(name) > maxName {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}
