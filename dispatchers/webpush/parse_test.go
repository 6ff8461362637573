package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 8291, appendix A.
func TestEncryptExample(t *testing.T) {
	sender, err := ecdh.P256().NewPrivateKey(decode(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ecdh.P256().NewPublicKey(decode(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"))
	if err != nil {
		t.Fatal(err)
	}
	s := &subscription{key: receiver, auth: decode(t, "BTBZMqHH6r4Tts7J_aSIgg")}
	got, err := encryptWith(sender, decode(t, "DGv6ra1nlYgDCS1FRnbzlw"), []byte("When I grow up, I want to be a watermelon"), 0, s)
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	if !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}

func TestKeysAndSaltsAreUsedOnce(t *testing.T) {
	key, _ := ecdh.P256().GenerateKey(rand.Reader)
	s := &subscription{key: key.PublicKey(), auth: make([]byte, 16)}
	seen := map[string]bool{}
	for range 100 {
		body, err := encrypt([]byte("x"), s)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(body[:saltSize])], seen[string(body[saltSize+5:headerSize])] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("%d different salts and keys of 200", len(seen))
	}
}

func TestSubscriptions(t *testing.T) {
	const (
		p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
		auth   = "BTBZMqHH6r4Tts7J_aSIgg"
		good   = `{"endpoint":"https://fcm.googleapis.com/fcm/send/x","expirationTime":null,"keys":{"p256dh":"` + p256dh + `","auth":"` + auth + `"}}`
	)
	rules, err := parseRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &WebPush{hosts: rules}
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, c := range map[string]struct {
		address string
		reason  string
	}{
		"good":                  {good, ""},
		"standard base64":       {change(auth, "BTBZMqHH6r4Tts7J/aSIgg=="), ""},
		"padded and standard":   {change(p256dh, strings.NewReplacer("-", "+", "_", "/").Replace(p256dh)+"="), ""},
		"more members":          {change(`{"endpoint"`, `{"contentEncoding":"aes128gcm","endpoint"`), ""},
		"not yet expired":       {change("null", "99999999999999"), ""},
		"port 443":              {change(".com/", ".com:443/"), ""},
		"capitals":              {change("fcm.googleapis", "FCM.GoogleAPIs"), ""},
		"Mozilla":               {change("fcm.googleapis.com/fcm/send", "updates.push.services.mozilla.com/wpush/v2"), ""},
		"Microsoft":             {change("fcm.googleapis.com/fcm/send", "wns2-par02p.notify.windows.com/w"), ""},
		"Apple":                 {change("fcm.googleapis.com/fcm/send", "web.push.apple.com"), ""},
		"nothing":               {"", dispatchers.ReasonNoAddress},
		"expired":               {change("null", "1"), reasonExpired},
		"an FCM token":          {"abc:APA91bxyz", dispatchers.ReasonBadAddress},
		"a mail address":        {"jeff@example.com", dispatchers.ReasonBadAddress},
		"a list":                {"[" + good + "]", dispatchers.ReasonBadAddress},
		"a second value":        {good + "{}", dispatchers.ReasonBadAddress},
		"twice an endpoint":     {change(`{"endpoint"`, `{"endpoint":"https://x/","endpoint"`), dispatchers.ReasonBadAddress},
		"another letter case":   {change(`"keys"`, `"Keys"`), dispatchers.ReasonBadAddress},
		"bad UTF-8":             {change("/x", "/\xff"), dispatchers.ReasonBadAddress},
		"too long":              {change("/x", "/"+strings.Repeat("x", maxAddress)), dispatchers.ReasonBadAddress},
		"no auth":               {change(auth, ""), dispatchers.ReasonBadAddress},
		"short auth":            {change(auth, auth[:20]), dispatchers.ReasonBadAddress},
		"no key":                {change(p256dh, ""), dispatchers.ReasonBadAddress},
		"off the curve":         {change(p256dh, p256dh[:len(p256dh)-4]+"AAAA"), dispatchers.ReasonBadAddress},
		"compressed key":        {change(p256dh, "A"+p256dh[1:44]), dispatchers.ReasonBadAddress},
		"http":                  {change("https:", "http:"), dispatchers.ReasonBadAddress},
		"a user":                {change("https://", "https://u:p@"), dispatchers.ReasonBadAddress},
		"a fragment":            {change("/x", "/x#y"), dispatchers.ReasonBadAddress},
		"no endpoint":           {change("https://fcm.googleapis.com/fcm/send/x", ""), dispatchers.ReasonBadAddress},
		"no host":               {change("https://fcm.googleapis.com", "https:"), reasonEndpointNotAllowed},
		"another port":          {change(".com/", ".com:8443/"), reasonEndpointNotAllowed},
		"another host":          {change("fcm.googleapis.com", "evil.example.com"), reasonEndpointNotAllowed},
		"a longer host":         {change("fcm.googleapis.com", "fcm.googleapis.com.evil.example.com"), reasonEndpointNotAllowed},
		"a host before":         {change("fcm.googleapis.com", "xfcm.googleapis.com"), reasonEndpointNotAllowed},
		"nothing for the *":     {change("fcm.googleapis.com", "notify.windows.com"), reasonEndpointNotAllowed},
		"no dot before suffix":  {change("fcm.googleapis.com", "evilnotify.windows.com"), reasonEndpointNotAllowed},
		"a final dot":           {change("fcm.googleapis.com", "fcm.googleapis.com."), reasonEndpointNotAllowed},
		"an IP address":         {change("fcm.googleapis.com", "142.250.1.1"), reasonEndpointNotAllowed},
		"an IPv6 address":       {change("fcm.googleapis.com", "[2a00:1450::1]"), reasonEndpointNotAllowed},
		"a number":              {change("fcm.googleapis.com", "2130706433"), reasonEndpointNotAllowed},
		"another host in front": {change("https://fcm", `https://evil.example.com\\@fcm`), dispatchers.ReasonBadAddress},
		"spaces in the host":    {change("fcm.goo", "evil .goo"), dispatchers.ReasonBadAddress},
		"encoded host":          {change("fcm.goo", "evil.example.com%2f.goo"), dispatchers.ReasonBadAddress},
	} {
		s, err := p.subscription(c.address, time.Now())
		if c.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if strings.ContainsAny(s.endpoint.Host, ":FG") {
				t.Errorf("%s: host %s", name, s.endpoint.Host)
			}
			continue
		}
		if e := dispatchers.AsError(err); err == nil || e.Reason != c.reason {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
			continue
		}
		for _, secret := range []string{p256dh, auth, "evil", "fcm.google", "APA91b", "jeff"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v tells %s", name, err, secret)
			}
		}
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add(`{"endpoint":"https://fcm.googleapis.com/x","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`)
	f.Add(`{"endpoint":"https://u@h:1/#","keys":null,"expirationTime":1e400}`)
	rules, err := parseRules(nil)
	if err != nil {
		f.Fatal(err)
	}
	p := &WebPush{hosts: rules}
	f.Fuzz(func(t *testing.T, address string) {
		s, err := p.subscription(address, time.Unix(1_800_000_000, 0))
		if err != nil {
			return
		}
		// What will be dialled is what was checked.
		u, err := url.Parse(s.endpoint.String())
		if err != nil || u.Scheme != "https" || !p.allows(u.Hostname(), httpsPort) || u.Port() != "" {
			t.Errorf("%q leads to %v", address, u)
		}
	})
}

func TestRules(t *testing.T) {
	for text, ok := range map[string]bool{
		"push.example.com": true, "*.push.example.com": true, "Push.Example.com:8443": true, "localhost:1234": true, "*.example.com": true,
		"": false, "*": false, "*.com": false, "a.*.com": false, "https://push.example.com": false, "push.example.com/": false,
		"127.0.0.1": false, "[::1]": false, "::1": false, "1234": false, "push.example.com.": false, ".example.com": false,
		"push example.com": false, "push.exämple.com": false, "u@push.example.com": false, "push.example.com:": false, "push.example.com:port": false,
	} {
		if _, err := parseRules([]string{text}); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOwnListReplacesTheDefault(t *testing.T) {
	rules, err := parseRules([]string{"push.example.com:8443", "*.up.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	p := &WebPush{hosts: rules}
	for host, port := range map[string]string{"fcm.googleapis.com": "443", "push.example.com": "443", "a.up.example.com": "8443"} {
		if p.allows(host, port) {
			t.Errorf("%s:%s is allowed", host, port)
		}
	}
	if !p.allows("push.example.com", "8443") || !p.allows("a.up.example.com", "443") {
		t.Error("a listed host is not allowed")
	}
	if !rules[0].byName || rules[1].byName {
		t.Error("only a host with its name may have a private address")
	}
	if rules, _ := parseRules(nil); rules[0].byName {
		t.Error("none of the default may have a private address")
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"142.250.1.1": true, "2a00:1450:4001::1": true, "::ffff:142.250.1.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.1.1": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "255.255.255.255": false, "192.0.2.1": false, "198.18.0.1": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fc00::1": false, "fd12::1": false, "ff02::1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::1": false, "2001:db8::1": false, "fec0::1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	content, public := newKey(t)
	var good vapidFile
	if err := json.Unmarshal(content, &good); err != nil {
		t.Fatal(err)
	}
	_, other := newKey(t)
	change := func(f func(*vapidFile)) string {
		v := good
		f(&v)
		out, _ := json.Marshal(v)
		return string(out)
	}
	for name, c := range map[string]struct {
		content string
		ok      bool
	}{
		"as made":           {string(content), true},
		"https subject":     {change(func(v *vapidFile) { v.Subject = "https://example.com/contact" }), true},
		"padded":            {change(func(v *vapidFile) { v.PublicKey += "="; v.PrivateKey += "=" }), true},
		"empty":             {"", false},
		"PEM":               {"-----BEGIN PRIVATE KEY-----", false},
		"no subject":        {change(func(v *vapidFile) { v.Subject = "" }), false},
		"bare mail address": {change(func(v *vapidFile) { v.Subject = "ops@example.com" }), false},
		"brackets":          {change(func(v *vapidFile) { v.Subject = "mailto:<ops@bank.example>" }), false},
		"a space":           {change(func(v *vapidFile) { v.Subject = "mailto: ops@example.com" }), false},
		"no domain":         {change(func(v *vapidFile) { v.Subject = "mailto:ops@" }), false},
		"http subject":      {change(func(v *vapidFile) { v.Subject = "http://example.com" }), false},
		"no private key":    {change(func(v *vapidFile) { v.PrivateKey = "" }), false},
		"short private key": {change(func(v *vapidFile) { v.PrivateKey = v.PrivateKey[:40] }), false},
		"zero private key":  {change(func(v *vapidFile) { v.PrivateKey = strings.Repeat("A", 43) }), false},
		"not base64url":     {change(func(v *vapidFile) { v.PrivateKey = "***" }), false},
		"no public key":     {change(func(v *vapidFile) { v.PublicKey = "" }), false},
		"other public key":  {change(func(v *vapidFile) { v.PublicKey = other }), false},
	} {
		v, err := parseVAPID([]byte(c.content))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && v.public != public {
			t.Errorf("%s: public key %s", name, v.public)
		}
		if err != nil && strings.Contains(err.Error(), good.PrivateKey) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
	if _, err := NewVAPID("ops@example.com"); err == nil {
		t.Error("a key with a bad subject was made")
	}
}

// A subject that only this network knows is warned about.
func TestReachableSubjects(t *testing.T) {
	for subject, want := range map[string]bool{
		"mailto:ops@example.com": true, "https://example.com/contact": true, "mailto:a@b@example.com": true, "https://142.250.1.1/": true,
		"mailto:ops@localhost": false, "mailto:ops@bank.invalid": false, "https://localhost": false, "https://localhost:8443/x": false,
		"https://10.0.0.1": false, "https://[::1]/": false, "mailto:ops@intranet": false, "https://push.Bank.INTERNAL": false,
	} {
		if got := reachable(subject); got != want {
			t.Errorf("%s: got %t", subject, got)
		}
	}
}
