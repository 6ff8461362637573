package pushservice

import (
	"crypto/ecdh"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 8291, appendix A.
func TestDecryptExample(t *testing.T) {
	key, err := ecdh.P256().NewPrivateKey(decode(t, "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	auth := decode(t, "BTBZMqHH6r4Tts7J_aSIgg")
	body := decode(t, "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	content, err := decrypt(key, auth, body)
	if err != nil || string(content) != "When I grow up, I want to be a watermelon" {
		t.Errorf("got %q, %v", content, err)
	}
	for i := range body {
		changed := append([]byte(nil), body...)
		changed[i] ^= 1
		// The last bytes of the record size only say how large it may be.
		if _, err := decrypt(key, auth, changed); err == nil && (i < 16 || i > 19) {
			t.Errorf("byte %d changed: still opened", i)
		}
		if _, err := decrypt(key, auth, body[:i]); err == nil {
			t.Errorf("cut to %d bytes: still opened", i)
		}
	}
}

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *Server) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// sender is a library that knows nothing of this package.
func sender(t *testing.T, s *Server) (publicKey string, send func(*Subscription, webpush.Options) int) {
	t.Helper()
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	return public, func(b *Subscription, o webpush.Options) int {
		var subscription webpush.Subscription
		if err := json.Unmarshal([]byte(b.JSON()), &subscription); err != nil {
			t.Fatal(err)
		}
		o.HTTPClient, o.VAPIDPublicKey, o.VAPIDPrivateKey = client(t, s), public, private
		if o.Subscriber == "" {
			o.Subscriber = "ops@example.com"
		}
		answer, err := webpush.SendNotificationWithContext(t.Context(), []byte("hello"), &subscription, &o)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
}

func TestForeignSender(t *testing.T) {
	s := start(t)
	public, send := sender(t, s)
	b, err := s.Subscribe(public)
	if err != nil {
		t.Fatal(err)
	}
	if status := send(b, webpush.Options{TTL: 60, Topic: "a", Urgency: webpush.UrgencyHigh}); status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	m, err := b.Wait(t.Context())
	if err != nil || string(m.Content) != "hello" || m.TTL != time.Minute || m.Topic != "a" || m.Urgency != "high" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestRefusals(t *testing.T) {
	s := start(t)
	public, send := sender(t, s)
	other, _ := sender(t, s)
	gone, _ := s.Subscribe(public)
	gone.Unsubscribe()
	mine, _ := s.Subscribe(public)
	others, _ := s.Subscribe(other)
	unknown := &Subscription{endpoint: "https://" + s.Host() + "/push/x", key: mine.key, auth: mine.auth}
	for name, c := range map[string]struct {
		to     *Subscription
		o      webpush.Options
		status int
	}{
		"unknown":        {unknown, webpush.Options{}, http.StatusNotFound},
		"gone":           {gone, webpush.Options{}, http.StatusGone},
		"another sender": {others, webpush.Options{}, http.StatusForbidden},
		"long topic":     {mine, webpush.Options{Topic: strings.Repeat("a", 33)}, http.StatusBadRequest},
		"bad topic":      {mine, webpush.Options{Topic: "a.b"}, http.StatusBadRequest},
		"too big":        {mine, webpush.Options{RecordSize: 4097}, http.StatusRequestEntityTooLarge},
		"bad subject":    {mine, webpush.Options{Subscriber: "mailto:ops@example.com"}, http.StatusForbidden},
	} {
		if status := send(c.to, c.o); status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
	}
	if mine.Waiting() != 0 {
		t.Error("something was taken")
	}
}

func TestSendersWithoutCredentials(t *testing.T) {
	for _, authorization := range []string{"", "Bearer x", "vapid t=x", "vapid t=a.b.c, k=some key"} {
		if status, err := authorize(authorization, "https://p", "some key", time.Now()); err == nil || status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", authorization, status)
		}
	}
}

func TestClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for claims, ok := range map[string]bool{
		`{"aud":"https://p","exp":1800003600,"sub":"mailto:a@b"}`:        true,
		`{"aud":"https://p","exp":1800003600,"sub":"https://b"}`:         true,
		`{"aud":"https://p:443","exp":1800003600,"sub":"https://b"}`:     false,
		`{"aud":"https://p","exp":1799999999,"sub":"https://b"}`:         false,
		`{"aud":"https://p","exp":1800090000,"sub":"https://b"}`:         false,
		`{"aud":"https://p","exp":1800003600}`:                           false,
		`{"aud":"https://p","exp":1800003600,"sub":"mailto:mailto:a@b"}`: false,
		`{"aud":"https://p","sub":"https://b"}`:                          false,
	} {
		var c jwt.Claims
		if err := json.Unmarshal([]byte(claims), &c); err != nil {
			t.Fatal(err)
		}
		if err := checkClaims(c, "https://p", now); (err == nil) != ok {
			t.Errorf("%s: %v", claims, err)
		}
	}
}
