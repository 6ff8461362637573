package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	recordSize = 4096 // what push services have to take (RFC 8030, section 7.2)
	saltSize   = 16
	keySize    = 65                         // an uncompressed point
	headerSize = saltSize + 4 + 1 + keySize // with the record size and the length of the key
	tagSize    = 16
	// maxContent leaves room for the delimiter, one byte.
	maxContent = recordSize - headerSize - tagSize - 1
	// paddedContent is the size up to which messages are padded, so that their
	// length does not tell what they are. It stays below what Firefox for
	// Android can receive, some 2.8 kB.
	paddedContent = 2048
)

// encrypt seals a message for a subscription, in the content coding aes128gcm.
func encrypt(content []byte, s *subscription) ([]byte, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return encryptWith(key, salt, content, max(paddedContent-len(content), 0), s)
}

// encryptWith seals a message with a key and a salt that are used only once
// (RFC 8291, section 3.4, and RFC 8188 with a single record).
func encryptWith(key *ecdh.PrivateKey, salt, content []byte, padding int, s *subscription) ([]byte, error) {
	shared, err := key.ECDH(s.key)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	derive := func(secret, salt []byte, info string, length int) (derived []byte) {
		if err == nil {
			derived, err = hkdf.Key(sha256.New, secret, salt, info, length)
		}
		return derived
	}
	sender := key.PublicKey().Bytes()
	input := derive(shared, s.auth, "WebPush: info\x00"+string(s.key.Bytes())+string(sender), 32)
	contentKey := derive(input, salt, "Content-Encoding: aes128gcm\x00", 16)
	nonce := derive(input, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	record := make([]byte, len(content)+1+padding)
	copy(record, content)
	record[len(content)] = 2 // the delimiter of the last record

	out := binary.BigEndian.AppendUint32(slices.Clone(salt), recordSize)
	out = append(out, keySize)
	out = append(out, sender...)
	return gcm.Seal(out, nonce, record, nil), nil
}
