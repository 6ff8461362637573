package kv

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Sealing keeps whoever can write to a storage from changing the records in it,
// and whoever can read it from reading them: each is encrypted and authenticated
// with AES-256-GCM, bound to the place where it is stored.
//
// What that does not do: whoever can write to the storage can still delete a
// record, and put back an older one of the same place, sealed with a key that
// is still in the ring. The first makes the target unknown; the second can
// bring back the device key and the address that the target had before. Only
// write access kept from others protects against it.

// KeySize is the length of a key, in bytes.
const KeySize = 32

// A sealed record is the magic, whose last byte is the version of the format,
// the id of the key, the nonce, and the ciphertext with its tag.
const (
	magic  = "oob-seal1"
	idSize = 8
	header = len(magic) + idSize
)

// Overhead is by how many bytes a sealed record is longer.
const Overhead = header + 12 + 16

// Ring seals with its first key and opens what any of its keys sealed. A nil
// Ring seals nothing. Nonces are random, so a key should be replaced before it
// has sealed 4 billion records (NIST SP 800-38D, section 8.3).
type Ring struct {
	keys           []key
	acceptUnsealed bool
}

type key struct {
	id   string
	aead cipher.AEAD
}

// NewRing makes a ring of keys of KeySize bytes.
func NewRing(keys ...[]byte) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no key")
	}
	r := new(Ring)
	for i, secret := range keys {
		k, err := newKey(secret)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if slices.ContainsFunc(r.keys, func(other key) bool { return other.id == k.id }) {
			return nil, fmt.Errorf("key %d is given twice", i+1)
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func newKey(secret []byte) (key, error) {
	if len(secret) != KeySize {
		return key{}, fmt.Errorf("it has %d bytes, not %d", len(secret), KeySize)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	id := sha256.Sum256(append([]byte("oob-dispatch seal key id\x00"), secret...))
	return key{id: string(id[:idSize]), aead: aead}, nil
}

// Seal returns a record as it is to be stored in a place.
func (r *Ring) Seal(record []byte, place string) []byte {
	if r == nil {
		return record
	}
	k := r.keys[0]
	sealed := make([]byte, 0, len(record)+Overhead)
	sealed = append(append(sealed, magic...), k.id...)
	return k.aead.Seal(sealed, nil, record, associated(sealed, place)) //nolint:gosec // it makes the nonce itself
}

// Open returns the record that was sealed for a place, and whether Seal would
// use the same key now. The error says what is wrong with it.
func (r *Ring) Open(data []byte, place string) (record []byte, current bool, err error) {
	sealed := len(data) >= header && string(data[:len(magic)]) == magic
	switch {
	case r == nil && sealed:
		return nil, false, errors.New("the record is sealed: give the store its key with the option seal")
	case r == nil:
		return data, true, nil
	case !sealed && r.acceptUnsealed:
		return data, false, nil
	case !sealed:
		return nil, false, errors.New("the record is not sealed: " +
			"it is older than the option seal (see accept_unsealed), or somebody else wrote it")
	}
	id := string(data[len(magic):header])
	i := slices.IndexFunc(r.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return nil, false, fmt.Errorf("the record is sealed with key %x, which the store does not have", id)
	}
	record, err = r.keys[i].aead.Open([]byte{}, nil, data[header:], associated(data[:header], place))
	if err != nil {
		return nil, false, errors.New("the sealed record was changed, or is that of another place")
	}
	return record, i == 0, nil
}

func associated(header []byte, place string) []byte {
	return append(slices.Clone(header), place...)
}
