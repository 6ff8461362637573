package pushservice

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// decrypt opens a message as a browser does (RFC 8291, section 3, and RFC
// 8188 with a single record).
func decrypt(key *ecdh.PrivateKey, auth, body []byte) ([]byte, error) {
	const tag = 16
	if len(body) < 21 || len(body) < 21+int(body[20])+tag+1 {
		return nil, errors.New("it is too short")
	}
	salt, recordSize, keyID, record := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:21+int(body[20])], body[21+int(body[20]):]
	if uint64(len(record)) > uint64(recordSize) {
		return nil, errors.New("it has more than one record")
	}
	sender, err := ecdh.P256().NewPublicKey(keyID)
	if err != nil {
		return nil, fmt.Errorf("reading the sender's key: %w", err)
	}
	shared, err := key.ECDH(sender)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	input, err1 := hkdf.Key(sha256.New, shared, auth, "WebPush: info\x00"+string(key.PublicKey().Bytes())+string(keyID), 32)
	cek, err2 := hkdf.Key(sha256.New, input, salt, "Content-Encoding: aes128gcm\x00", 16)
	nonce, err3 := hkdf.Key(sha256.New, input, salt, "Content-Encoding: nonce\x00", 12)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	padded, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, errors.New("it was sealed for another key, or changed on its way")
	}
	content := bytes.TrimRight(padded, "\x00")
	if len(content) == 0 || content[len(content)-1] != 2 { // the delimiter of the last record
		return nil, errors.New("its padding is wrong")
	}
	return content[:len(content)-1], nil
}
