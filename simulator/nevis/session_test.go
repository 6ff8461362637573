package nevis

import (
	"encoding/base64"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// begin dispatches a link for an operation and returns its token and session.
func (c *client) begin(op nevisfido.Operation) (token, session string) {
	c.t.Helper()
	got := c.post("/nevisfido/token/dispatch/"+string(op), `{"dispatcher":"link","getUafRequest":{"op":"`+hints[op]+`","context":"{\"username\":\"jeff\"}"}}`)
	return c.text(got.members, "token"), c.text(got.members, "sessionId")
}

func (c *client) redeem(op nevisfido.Operation, token string) answered {
	c.t.Helper()
	return c.post(redeemPath+string(op), `{"token":"`+token+`"}`)
}

// respond answers the UAF request of a session.
func (c *client) respond(op nevisfido.Operation, session, context string) string {
	c.t.Helper()
	c.mu.Lock()
	n := c.byKey[session]
	params := base64.RawURLEncoding.EncodeToString(encode(map[string]string{"challenge": n.challenge}))
	c.mu.Unlock()
	message := []any{map[string]any{"header": uafHeader{Op: hints[op], ServerData: session}, "fcParams": params}}
	return c.post(uafPath+string(op)+"/", string(encode(map[string]string{"uafResponse": string(encode(message)), "context": context}))).body
}

func (c *client) wantStatus(session, want string) {
	c.t.Helper()
	if got := c.text(c.post("/nevisfido/status", `{"sessionId":"`+session+`"}`).members, "status"); got != want {
		c.t.Errorf("the session is %s, want %s", got, want)
	}
}

func TestSessionsHaveAnEnd(t *testing.T) {
	c := start(t, Options{})
	synctest.Test(t, func(t *testing.T) {
		c := &client{c.Server, t}
		const reg, auth = nevisfido.Registration, nevisfido.Authentication
		wantCode := func(name string, op nevisfido.Operation, token, code string) {
			t.Helper()
			if got := c.redeem(op, token); string(got.members["statusCode"]) != code {
				t.Errorf("%s: got %s, want %s", name, got.body, code)
			}
		}
		used, session := c.begin(auth)
		c.wantStatus(session, tokenCreated)
		wantCode("fresh", auth, used, "1200")
		wantCode("used", auth, used, "1404")
		wantCode("unknown", auth, "x", "1404")
		wantCode("a session's id", auth, session, "1404")
		c.wantStatus(session, clientAuthenticating)
		if got := c.respond(auth, session, ""); got != `{"statusCode":1200}` {
			t.Errorf("responding: got %s", got)
		}
		if got := c.respond(auth, session, ""); got != `{"statusCode":1491}` {
			t.Errorf("responding twice: got %s", got)
		}
		c.wantStatus(session, succeeded)
		left, _ := c.begin(nevisfido.Deregistration)
		wantCode("deregistration", nevisfido.Deregistration, left, "1200")

		late, lateSession := c.begin(auth)
		slow, slowSession := c.begin(auth)
		wantCode("slow", auth, slow, "1200")
		longer, _ := c.begin(reg)
		time.Sleep(2*time.Minute + time.Second)
		wantCode("late", auth, late, "1408")
		wantCode("another operation", auth, longer, "1404")
		wantCode("a registration lives longer", reg, longer, "1200")
		c.wantStatus(lateSession, failed)
		if got := c.respond(auth, slowSession, ""); got != `{"statusCode":1408}` {
			t.Errorf("responding late: got %s", got)
		}
		c.wantStatus("x", unknown)
		if created, redeemed := c.Tokens(); created != 5 || redeemed != 4 {
			t.Errorf("%d tokens created, %d redeemed", created, redeemed)
		}
	})
}

func TestRegistrationCreatesTheTarget(t *testing.T) {
	c := start(t, Options{})
	c.register("taken", "")
	target := func(text string) string { return `{"asmStatusCode":0,"dispatchTarget":` + text + `}` }
	for name, tt := range map[string]struct {
		context, code string
		created       bool
	}{
		"with a target":                {target(`{"name":"phone","encryptionKey":"{\"kty\":\"RSA\"}"}`), "1200", true},
		"without":                      {`{"asmStatusCode":0}`, "1200", false},
		"a name that is taken":         {target(`{"name":"taken"}`), "1498", false},
		"no name":                      {target(`{}`), "1498", false},
		"a context that is not JSON":   {`x`, "1498", false},
		"a target that is not allowed": {target(`[]`), "1498", false},
	} {
		token, session := c.begin(nevisfido.Registration)
		c.redeem(nevisfido.Registration, token)
		var got members
		if err := decode([]byte(c.respond(nevisfido.Registration, session, tt.context)), &got); err != nil || string(got["statusCode"]) != tt.code {
			t.Errorf("%s: got %s, want %s", name, got, tt.code)
		}
		c.wantStatus(session, map[bool]string{true: succeeded, false: failed}[tt.code == "1200"])
		if tt.created {
			stored, _ := c.Target(c.text(got, "description", "dispatchTargetId"))
			if stored.Username != "jeff" || string(stored.EncryptionKey) != `{"kty":"RSA"}` {
				t.Errorf("%s: stored is %+v", name, stored)
			}
		}
	}
}

func TestSessionsAreBounded(t *testing.T) {
	c := start(t, Options{})
	first := c.newSession("authentication", getUAFRequest{}, true)
	for range maxKept {
		c.newSession("authentication", getUAFRequest{}, true)
	}
	if n := len(c.sessions); c.byKey[first.token] != nil || n > maxKept || len(c.byKey) != 2*n {
		t.Errorf("%d sessions, %d keys", n, len(c.byKey))
	}
}
