package targets

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// maxKeys bounds the cache: 600 bytes each, for RSA-2048.
const maxKeys = 100_000

// keyCache keeps vetted keys by the hash of their JWK: vetting costs more than
// sealing. The zero cache is ready for use.
type keyCache struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*encrypt.Key
}

func (c *keyCache) get(jwk []byte, p encrypt.Policy) (*encrypt.Key, error) {
	hash := sha256.Sum256(fmt.Appendf(nil, "%d %s", p.MinRSABits, jwk))
	c.mu.Lock()
	key := c.keys[hash]
	c.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := encrypt.ParseKey(jwk, p)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[[sha256.Size]byte]*encrypt.Key)
	}
	if len(c.keys) >= maxKeys {
		for old := range c.keys { // any one will do
			delete(c.keys, old)
			break
		}
	}
	c.keys[hash] = key
	return key, nil
}
