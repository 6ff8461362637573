package nevisfido

import (
	"bytes"
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// This file holds what is guessed where nevisFIDO's documentation is silent:
// where the keys of a target are and what they are for, where a registration
// holds its target, and where an answer tells the id of a new one. Each guess
// has a name and is reported where it hit. One that never hits where a real
// nevisFIDO runs can be deleted.

// Guesses is a set of guesses that hit in one message.
type Guesses uint32

// The guesses.
const (
	GuessInformationText     Guesses = 1 << iota // dispatchInformation is JSON in a string
	GuessInformationFreeText                     // dispatchInformation is a string that is not JSON
	GuessDataText                                // data is JSON in a string
	GuessDataFreeText                            // data is a string that is not JSON
	GuessKeyText                                 // a JWK in a string
	GuessKeyBase64                               // base64 of a JWK
	GuessKeyPlace                                // a key that is not the value of a documented member
	GuessKeyPurpose                              // such a key says itself what it is for
	GuessKeyName                                 // the name of a member tells what such a key is for
	GuessKeyType                                 // its type tells, or that it is the only one
	GuessKeyUnclear                              // nothing tells which key encrypts
	GuessTargetMember                            // context.dispatchTarget is the target, as is assumed
	GuessTargetElsewhere                         // dispatchTarget is deeper in the context, or spelled otherwise
	GuessTargetShape                             // an object with a dispatcher or target and a key is the target
	GuessIDMember                                // description.dispatchTargetId is the id, as is assumed
	GuessIDElsewhere                             // dispatchTargetId is elsewhere in the answer, or spelled otherwise
	GuessIDTarget                                // the id is within or the value of dispatchTarget
	GuessIDDescription                           // the description is the id, or has it as id or targetId
	guessEnd
)

var guessNames = []string{
	"information_text", "information_free_text", "data_text", "data_free_text",
	"key_text", "key_base64", "key_place", "key_purpose", "key_name", "key_type", "key_unclear",
	"target_member", "target_elsewhere", "target_shape",
	"id_member", "id_elsewhere", "id_target", "id_description",
}

// GuessNames returns the names of all guesses, in snake case.
func GuessNames() []string { return slices.Clone(guessNames) }

// Names yields the names of the guesses in the set.
func (g Guesses) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, name := range guessNames {
			if g&(1<<i) != 0 && !yield(name) {
				return
			}
		}
	}
}

// Bounds of a search.
const (
	maxValues = 1024 // values that one search looks at, JSON within strings included; apps send a few dozen
	maxLevels = 32   // JSON within strings included
	maxFound  = 16   // what is kept; with so many nothing is certain
)

// A search is the reading of one message for what may be anywhere in it.
type search struct {
	values   int
	exceeded bool // the message has more than a search looks at
}

// take counts a value before it is searched; absent where it is too large.
func (s *search) take(value strictjson.Value) strictjson.Value {
	s.values += value.Len()
	s.exceeded = s.exceeded || s.values > maxValues
	if s.exceeded {
		return strictjson.Value{}
	}
	return value
}

// open returns the object or array that a string holds, and any other value as
// it is.
func (s *search) open(value strictjson.Value) strictjson.Value {
	if value.Kind() != '"' || s.exceeded {
		return value
	}
	text := strings.TrimSpace(value.Text())
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return value
	}
	inside, err := strictjson.Parse([]byte(text))
	s.exceeded = s.exceeded || errors.Is(err, strictjson.ErrTooManyValues)
	if err != nil {
		return value
	}
	if inside = s.take(inside); !inside.Exists() {
		return value
	}
	return inside
}

// children are those of a value, or of the JSON within a string.
func (s *search) children(value strictjson.Value, level int) iter.Seq2[string, strictjson.Value] {
	if level > maxLevels {
		return func(func(string, strictjson.Value) bool) {}
	}
	return s.open(value).Children()
}

// objects returns the object that a value is, or those that it lists.
func (s *search) objects(value strictjson.Value) (all []strictjson.Value) {
	value = s.open(value)
	switch value.Kind() {
	case '{':
		all = append(all, value)
	case '[':
		for _, element := range value.Children() {
			if element = s.open(element); element.Kind() == '{' {
				all = append(all, element)
			}
		}
	}
	return all
}

// word returns the text of a string that is one word: no sentence, and no JSON
// within a string.
func (s *search) word(value strictjson.Value) string {
	if s.open(value).Kind() != '"' {
		return ""
	}
	text := strings.TrimSpace(value.Text())
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }) {
		return ""
	}
	return text
}

// keySearch looks for keys by their shape, at any depth: documented names win,
// then what a key says of itself, then names, then the type.
type keySearch struct {
	search     search
	documented Keys
	found      []jwk
	unreadable bool // something looks like a key and cannot be read
}

// member takes in a member of the object that is searched.
func (s *keySearch) member(name string, value strictjson.Value) {
	switch {
	case slices.Contains(keylessMembers, name) || value.Kind() == 'n':
	case name == encryptionName:
		s.documented.Encryption = s.documentedKey(value)
	case slices.Contains(signatureNames, name):
		s.documented.Signature = s.documentedKey(value)
	default:
		s.below(hints{}.below(name), s.search.take(value), 0)
	}
}

// documentedKey returns the one JWK that the value of a documented member is or
// holds, or else the value.
func (s *keySearch) documentedKey(value strictjson.Value) []byte {
	var inside keySearch
	inside.below(hints{}, inside.search.take(value), 0)
	if len(inside.found) != 1 || inside.unreadable || inside.search.exceeded {
		return value.Raw()
	}
	key := inside.found[0]
	s.documented.Guesses |= key.guesses & (GuessKeyText | GuessKeyBase64)
	if _, ok := parseJWK(value); !ok {
		s.documented.Guesses |= GuessKeyPlace
	}
	return key.text
}

// below takes in all keys of a value, and returns whether there are any.
func (s *keySearch) below(names hints, value strictjson.Value, level int) (some bool) {
	if key, ok := parseJWK(value); ok {
		// A key that its name calls an encryption key is vetted as one: another
		// purpose that it names must not let the target pass for keyless.
		switch {
		case names.purpose == encrypting, names.purpose == signing && key.purpose == unknownPurpose:
			key.purpose, key.guesses = names.purpose, key.guesses|GuessKeyName
		case key.purpose != unknownPurpose:
			key.guesses |= GuessKeyPurpose
		}
		s.add(key)
		return true
	}
	for name, child := range s.search.children(value, level) {
		some = s.below(names.below(name), child, level+1) || some
	}
	switch {
	case some:
	case names.encryptionKey() && holdsSomething(value):
		s.add(jwk{text: value.Raw(), purpose: encrypting, guesses: GuessKeyName}) // to be refused
		return true
	case value.Kind() == '"' && bytes.Contains(value.Raw(), []byte("kty")):
		s.unreadable = s.unreadable || strings.Contains(value.Text(), `"kty"`)
	}
	return some
}

// add keeps a key once, although it may be in several places.
func (s *keySearch) add(key jwk) {
	for i, other := range s.found {
		if !bytes.Equal(other.text, key.text) {
			continue
		}
		switch {
		case other.purpose == unknownPurpose:
			s.found[i].purpose, s.found[i].guesses = key.purpose, key.guesses
		case key.purpose != unknownPurpose && key.purpose != other.purpose:
			s.found[i].purpose = unknownPurpose
		}
		return
	}
	if len(s.found) == maxFound {
		s.unreadable = true
		return
	}
	s.found = append(s.found, key)
}

// keys sorts what was found. lone is what a key that is not an RSA key is taken
// for where it is the only one and nothing tells; with unknownPurpose it is
// unclear, and no key is taken for the signature key without a hint.
func (s *keySearch) keys(lone purpose) Keys {
	keys := s.documented
	if present(keys.Encryption) && present(keys.Signature) {
		return keys
	}
	known := make(map[purpose][]jwk)
	var rsa, other []jwk
	for _, key := range s.found {
		switch {
		case key.purpose != unknownPurpose:
			known[key.purpose] = append(known[key.purpose], key)
		case key.rsa:
			rsa = append(rsa, key)
		default:
			other = append(other, key)
		}
	}
	encryption, signature := known[encrypting], known[signing]
	if present(keys.Encryption) {
		encryption = []jwk{{text: keys.Encryption}}
	}
	if present(keys.Signature) {
		signature = []jwk{{text: keys.Signature}}
	}
	take := func(place, from *[]jwk) {
		if len(*place) == 0 {
			for i := range *from {
				(*from)[i].guesses |= GuessKeyType
			}
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
	if lone != unknownPurpose {
		take(&signature, &rsa)
	}
	if s.unreadable || s.search.exceeded || len(encryption) > 1 || len(signature) > 1 || len(rsa)+len(other) > 0 {
		keys.Unclear = true
		keys.Guesses |= GuessKeyUnclear
		return keys
	}
	keys.Encryption = keys.only(encryption, keys.Encryption)
	keys.Signature = keys.only(signature, keys.Signature)
	return keys
}

// only returns the only key of a list.
func (k *Keys) only(list []jwk, otherwise []byte) []byte {
	if len(list) == 0 {
		return otherwise
	}
	if guesses := list[0].guesses; guesses != 0 {
		k.Guesses |= guesses | GuessKeyPlace
	}
	return list[0].text
}

// present tells whether a member brings something.
func present(value []byte) bool { return len(value) > 0 && string(value) != `""` }

func holdsSomething(value strictjson.Value) bool {
	switch value.Kind() {
	case '{', '[':
		return len(bytes.Trim(value.Raw(), "{[ \t\r\n]}")) > 0
	case '"':
		return strings.TrimSpace(value.Text()) != ""
	}
	return false
}

// hints are what the names of a value and of all around it tell about a key.
type hints struct {
	purpose purpose // as the innermost name that tells has it
	key     bool    // one of them speaks of a key
	ends    bool    // the innermost ends as the name of a key may
}

// below adds the name of a member. Elements of arrays have none.
func (h hints) below(name string) hints {
	if name == "" {
		return h
	}
	h.ends = false
	encrypts, signs := false, false
	for _, word := range words(name) {
		encrypts = encrypts || word == "enc" || strings.HasPrefix(word, "encr") || strings.HasPrefix(word, "enckey") || strings.HasPrefix(word, "decr")
		signs = signs || word == "sig" || strings.HasPrefix(word, "sign") || strings.HasPrefix(word, "sigkey") || strings.HasPrefix(word, "verif")
		h.key = h.key || strings.HasSuffix(word, "key") || strings.HasSuffix(word, "keys") || strings.HasPrefix(word, "jwk")
		h.ends = slices.Contains([]string{"key", "keys", "jwk", "jwks", "enc", "enckey", "encryption", "pem", "der"}, word)
	}
	switch {
	case encrypts && !signs:
		h.purpose = encrypting
	case signs && !encrypts:
		h.purpose = signing
	}
	return h
}

// encryptionKey tells whether names leave no doubt that the value is an
// encryption key, whatever its form: encryptionKey, keys.encryption, but not
// encryptionKeyId.
func (h hints) encryptionKey() bool { return h.purpose == encrypting && h.key && h.ends }

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

// normalName is a name without anything that only spelling conventions differ in.
func normalName(name string) string {
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

func isTargetName(name string) bool {
	normal := normalName(name)
	return normal == "dispatchtarget" || normal == "dispatchtargets"
}

// targetSearch looks for objects that describe a dispatch target.
type targetSearch struct {
	search        search
	named, shaped []strictjson.Value
	guesses       Guesses
}

// found returns the targets of a registration's context.
func (s *targetSearch) found(context strictjson.Value) []strictjson.Value {
	s.below(s.search.take(context), 0)
	if len(s.named) == 0 {
		s.guesses = GuessTargetShape
		return s.shaped
	}
	return s.named
}

// below returns whether there is a JWK in a value that belongs to none of the
// targets that were found.
func (s *targetSearch) below(value strictjson.Value, level int) (loose bool) {
	if _, ok := parseJWK(value); ok {
		return true
	}
	value = s.search.open(value)
	marked := false // as a target, by its members
	for name, child := range s.search.children(value, level) {
		if isTargetName(name) {
			if targets := s.search.objects(child); len(targets) > 0 {
				s.named = addTo(s.named, targets...)
				if level == 0 && name == "dispatchTarget" {
					s.guesses |= GuessTargetMember
				} else {
					s.guesses |= GuessTargetElsewhere
				}
				continue
			}
		}
		marked = marked || name == "dispatcher" || name == "target"
		loose = s.below(child, level+1) || loose
	}
	if marked && loose {
		s.shaped = addTo(s.shaped, value)
		return false
	}
	return loose
}

func addTo(list []strictjson.Value, values ...strictjson.Value) []strictjson.Value {
	for _, value := range values {
		same := func(other strictjson.Value) bool { return bytes.Equal(other.Raw(), value.Raw()) }
		if len(list) < maxFound && !slices.ContainsFunc(list, same) {
			list = append(list, value)
		}
	}
	return list
}

// idSearch looks for what may be the id of a new target. These are taken, the
// better one first: dispatchTargetId or dispatchTarget anywhere in the answer,
// in whichever spelling; then targetId anywhere in description, id at its top,
// or a description that is nothing but an id.
type idSearch struct {
	search     search
	inTargetID bool // targetId counts as well
	ids        []CreatedTarget
}

func (s *idSearch) find(answer strictjson.Value) (CreatedTarget, error) {
	description := answer.Member("description")
	s.below(s.search.take(answer), 0, false)
	if len(s.ids) == 0 && !s.search.exceeded {
		s.search, s.inTargetID = search{}, true
		s.below(s.search.take(description), 0, true)
		s.description(description)
	}
	switch {
	case s.search.exceeded || len(s.ids) > 1:
		return CreatedTarget{}, ErrSeveralIDs
	case len(s.ids) == 0:
		return CreatedTarget{}, ErrNoID
	}
	return s.ids[0], nil
}

func (s *idSearch) add(id, extID string, guess Guesses) {
	if id == "" {
		return
	}
	for i, other := range s.ids {
		if other.ID == id {
			s.ids[i].ExtID = cmp.Or(other.ExtID, extID)
			return
		}
	}
	if len(s.ids) < maxFound {
		s.ids = append(s.ids, CreatedTarget{ID: id, ExtID: extID, Guesses: guess})
	}
}

// below searches a value; described tells that it is the description.
func (s *idSearch) below(value strictjson.Value, level int, described bool) {
	for name, child := range s.search.children(value, level) {
		normal := normalName(name)
		switch {
		case described && name == "dispatchTargetId":
			s.add(s.search.word(child), "", GuessIDMember)
		case normal == "dispatchtargetid":
			s.add(s.search.word(child), "", GuessIDElsewhere)
		case normal == "targetid" && s.inTargetID:
			s.add(s.search.word(child), "", GuessIDDescription)
		case isTargetName(name):
			s.target(child)
		default:
			s.below(child, level+1, level == 0 && name == "description")
		}
	}
}

// target takes what is named as a target: an object with an id, or the id.
func (s *idSearch) target(value strictjson.Value) {
	objects := s.search.objects(value)
	if len(objects) == 0 {
		s.add(s.search.word(value), "", GuessIDTarget)
	}
	for _, o := range objects {
		s.object(o, GuessIDTarget)
		s.below(o, 0, false)
	}
}

// object takes the id of an object that is a target.
func (s *idSearch) object(value strictjson.Value, guess Guesses) {
	if c, err := readCreated(value); err == nil {
		s.add(c.ID, c.ExtID, guess)
	}
}

// description takes what a description is itself: targets, or bare ids.
func (s *idSearch) description(value strictjson.Value) {
	objects := s.search.objects(value)
	for _, o := range objects {
		s.object(o, GuessIDDescription)
	}
	if len(objects) > 0 {
		return
	}
	values := []strictjson.Value{value}
	if list := s.search.open(value); list.Kind() == '[' {
		values = values[:0]
		for _, element := range list.Children() {
			values = append(values, element)
		}
	}
	for _, v := range values {
		if id := s.search.word(v); looksLikeID(id) {
			s.add(id, "", GuessIDDescription)
		}
	}
}

// looksLikeID tells an id from a sentence, a word, a number, or a constant such
// as SUCCEEDED_1200.
func looksLikeID(text string) bool {
	digits, letters := 0, 0
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			letters++
		case c != '-':
			return false
		}
	}
	return len(text) >= 8 && len(text) <= 128 && digits > 0 && letters > 0
}
