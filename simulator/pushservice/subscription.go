package pushservice

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Subscription is a browser's subscription, with the keys that only the
// browser has.
type Subscription struct {
	endpoint  string
	senderKey string // base64url of the VAPID key that it is for; "" for any
	key       *ecdh.PrivateKey
	auth      []byte

	mu      sync.Mutex
	gone    bool
	waiting []push
	arrived chan struct{} // closed at the next push
}

// push is a message as the push service keeps it.
type push struct {
	header http.Header
	body   []byte
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
		endpoint:  "https://" + s.host + "/push/" + id,
		senderKey: applicationServerKey,
		key:       key,
		auth:      []byte(rand.Text())[:16],
		arrived:   make(chan struct{}),
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
func (b *Subscription) Unsubscribe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
}

func (b *Subscription) isGone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}

// keep stores a push. It replaces one of the same topic that still waits.
func (b *Subscription) keep(p push) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if topic := p.header.Get("Topic"); topic != "" {
		b.waiting = slices.DeleteFunc(b.waiting, func(w push) bool { return w.header.Get("Topic") == topic })
	}
	b.waiting = append(b.waiting, p)
	close(b.arrived)
	b.arrived = make(chan struct{})
}

// Waiting returns how many messages were not yet taken by Wait.
func (b *Subscription) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Wait takes the oldest message, or waits for the next, and decrypts it.
func (b *Subscription) Wait(ctx context.Context) (Message, error) {
	for {
		p, arrived := b.take()
		if p != nil {
			return b.open(*p)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("waiting for a push message: %w", ctx.Err())
		}
	}
}

func (b *Subscription) take() (*push, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return nil, b.arrived
	}
	p := b.waiting[0]
	b.waiting = b.waiting[1:]
	return &p, nil
}

func (b *Subscription) open(p push) (Message, error) {
	content, err := decrypt(b.key, b.auth, p.body)
	if err != nil {
		return Message{}, fmt.Errorf("decrypting a push message: %w", err)
	}
	seconds, _ := strconv.Atoi(p.header.Get("TTL")) // was checked
	return Message{
		Content: content,
		TTL:     time.Duration(seconds) * time.Second,
		Urgency: p.header.Get("Urgency"),
		Topic:   p.header.Get("Topic"),
	}, nil
}
