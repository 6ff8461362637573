// Package keyedhash makes the texts that stand for tokens, ids and names in
// logs, the audit trail and message ids.
package keyedhash

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

// Length is how many characters a hash has.
const Length = 22

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 32

// NewSecret draws a secret.
func NewSecret() []byte {
	secret := make([]byte, MinSecret)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return secret
}

// Key makes keyed hashes: whoever does not have its secret cannot tell what they
// stand for. A nil Key is drawn once per process. It is safe for concurrent use.
type Key struct {
	macs  atomic.Pointer[sync.Pool] // nil until the secret is known
	first sync.Once
	find  func() // looks for the secret
}

// ofProcess is used where no other key is known.
var ofProcess = sync.OnceValue(func() *Key { return New(NewSecret()) })

// New makes a key of a secret.
func New(secret []byte) *Key {
	k := &Key{find: func() {}}
	k.use(secret)
	return k
}

func (k *Key) use(secret []byte) {
	k.macs.Store(&sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }})
}

const (
	fetchTimeout = 800 * time.Millisecond
	fetchPause   = 5 * time.Second
)

// Fetched makes a key whose secret is fetched when the first hash is needed,
// which waits for that. If it fails the key of the process is used until it can
// be fetched; failed is called once. ctx ends the attempts.
func Fetched(ctx context.Context, fetch func(context.Context) ([]byte, error), failed func(error)) *Key {
	k := new(Key)
	try := func() error {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		secret, err := fetch(ctx)
		if err == nil {
			k.use(secret)
		}
		return err
	}
	k.find = func() {
		err := try()
		if err == nil {
			return
		}
		failed(err)
		go func() {
			for err != nil {
				select {
				case <-ctx.Done():
					return
				case <-time.After(fetchPause):
				}
				err = try()
			}
		}()
	}
	return k
}

// Of returns the HMAC-SHA-256 of a value, shortened to 128 bits, in base64url;
// "" for an empty value. kind, such as "token", keeps hashes of different things
// apart.
func (k *Key) Of(kind, value string) string {
	if value == "" {
		return ""
	}
	if k == nil {
		k = ofProcess()
	}
	macs := k.macs.Load()
	if macs == nil {
		k.first.Do(k.find)
		if macs = k.macs.Load(); macs == nil {
			macs = ofProcess().macs.Load()
		}
	}
	mac := macs.Get().(hash.Hash)
	defer macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(kind + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
