package pushservice

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Subscription is a browser's subscription, with the keys that only the
// browser has.
type Subscription struct {
	endpoint  string
	senderKey string // base64url of the VAPID key that it is for; "" for any
	key       *ecdh.PrivateKey
	auth      []byte
	gone      atomic.Bool
	inbox     double.Inbox[double.Request]
}

// Message is a decrypted push message.
type Message struct {
	Content        []byte
	TTL            time.Duration
	Urgency, Topic string
}

// Subscribe makes a subscription. applicationServerKey is the sender's VAPID
// public key in base64url, as a page gives it to PushManager.subscribe; ""
// lets everybody send.
func (s *Server) Subscribe(applicationServerKey string) (*Subscription, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	id := rand.Text()
	b := &Subscription{
		endpoint:  "https://" + s.Host() + "/push/" + id,
		senderKey: applicationServerKey,
		key:       key,
		auth:      []byte(rand.Text())[:16],
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions[id] = b
	return b, nil
}

// JSON returns the subscription as PushSubscription.toJSON does: the address
// of a dispatch target.
func (b *Subscription) JSON() string {
	encode := base64.RawURLEncoding.EncodeToString
	out, _ := json.Marshal(map[string]any{ // strings and nil can always be encoded
		"endpoint":       b.endpoint,
		"expirationTime": nil,
		"keys":           map[string]string{"p256dh": encode(b.key.PublicKey().Bytes()), "auth": encode(b.auth)},
	})
	return string(out)
}

// Unsubscribe ends the subscription; what is sent to it gets a 410.
func (b *Subscription) Unsubscribe() { b.gone.Store(true) }

// keep stores a push. It replaces one of the same topic that still waits.
func (b *Subscription) keep(push double.Request) {
	if topic := push.Header.Get("Topic"); topic != "" {
		b.inbox.Drop(func(waiting double.Request) bool { return waiting.Header.Get("Topic") == topic })
	}
	b.inbox.Put(push)
}

// Waiting returns how many messages were not yet taken by Wait.
func (b *Subscription) Waiting() int { return len(b.inbox.Waiting()) }

// Wait takes the oldest message, or waits for the next, and decrypts it.
func (b *Subscription) Wait(ctx context.Context) (Message, error) {
	push, err := b.inbox.Wait(ctx, nil)
	if err != nil {
		return Message{}, err
	}
	content, err := decrypt(b.key, b.auth, push.Body)
	if err != nil {
		return Message{}, fmt.Errorf("decrypting a push message: %w", err)
	}
	seconds, _ := strconv.Atoi(push.Header.Get("TTL")) // was checked
	return Message{
		Content: content,
		TTL:     time.Duration(seconds) * time.Second,
		Urgency: push.Header.Get("Urgency"),
		Topic:   push.Header.Get("Topic"),
	}, nil
}
