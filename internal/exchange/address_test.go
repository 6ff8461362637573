package exchange

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestAddress(t *testing.T) {
	const own = "the target's own"
	fcm := dispatchers.Traits{BuiltIn: nevisfido.BuiltInFCM}
	for name, c := range map[string]struct {
		registeredFor string // dispatcher of the target
		channel       Channel
		header        string // of the request
		noTarget      bool   // the request names none
		want          string // address, "" for none
		result        nevisfido.DispatchResult
	}{
		"registered for the same name":          {registeredFor: "c", channel: Channel{Type: "fcm"}, want: own},
		"registered for the same type":          {registeredFor: "push", channel: Channel{Type: "fcm"}, want: own},
		"registered for nevisFIDO's own":        {registeredFor: nevisfido.BuiltInFCM, channel: Channel{Type: "fcm", Traits: fcm}, want: own},
		"nevisFIDO's own of another kind":       {registeredFor: nevisfido.BuiltInLink, channel: Channel{Type: "fcm", Traits: fcm}, result: nevisfido.DispatchTargetNotFound},
		"a push token is no mail address":       {registeredFor: "push", channel: Channel{Type: "smtp"}, result: nevisfido.DispatchTargetNotFound},
		"nor the one of nevisFIDO's own":        {registeredFor: nevisfido.BuiltInFCM, channel: Channel{Type: "smtp"}, result: nevisfido.DispatchTargetNotFound},
		"registered for an unknown name":        {registeredFor: "elsewhere", channel: Channel{Type: "fcm", Traits: fcm}, result: nevisfido.DispatchTargetNotFound},
		"registered for no name":                {registeredFor: "", channel: Channel{Type: "fcm", Traits: fcm}, want: own},
		"registered for no name, and mail":      {registeredFor: "", channel: Channel{Type: "smtp"}, result: nevisfido.DispatchTargetNotFound},
		"a misspelt placeholder":                {registeredFor: "push", channel: Channel{Type: "webhook", Address: "{http.request.headers.X-To}"}, result: nevisfido.InternalError},
		"a misspelt placeholder among others":   {registeredFor: "push", channel: Channel{Type: "webhook", Address: "{header} {headers}"}, header: "x", result: nevisfido.InternalError},
		"what looks like one, from a header":    {registeredFor: "push", channel: Channel{Type: "webhook", Address: "tel:{header}"}, header: "{abc}", result: nevisfido.InternalError},
		"braces in a value":                     {registeredFor: "push", channel: Channel{Type: "webhook", Address: "{header}"}, header: `{"endpoint":"x"}`, want: `{"endpoint":"x"}`},
		"a name of ours hides nevisFIDO's":      {registeredFor: "mail", channel: Channel{Type: "fcm", Traits: dispatchers.Traits{BuiltIn: "mail"}}, result: nevisfido.DispatchTargetNotFound},
		"no target":                             {noTarget: true, channel: Channel{Type: "fcm", Encryption: Off}, result: nevisfido.DispatchTargetNotFound},
		"the operator names one":                {registeredFor: "push", channel: Channel{Type: "smtp", Address: "ops@example.com"}, want: "ops@example.com"},
		"the operator wants the target's own":   {registeredFor: "push", channel: Channel{Type: "webhook", Address: "{oob.target}"}, want: own},
		"the operator's wins":                   {registeredFor: "c", channel: Channel{Type: "fcm", Address: "x"}, want: "x"},
		"from a header":                         {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "jeff@example.com", want: "jeff@example.com"},
		"from a header, with spaces":            {registeredFor: "push", channel: Channel{Type: "smtp", Address: " {header} "}, header: " jeff@example.com ", want: "jeff@example.com"},
		"from a header that is not there":       {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, result: nevisfido.DispatchTargetNotFound},
		"from a source that does not know":      {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{oob.user.email}"}, result: nevisfido.DispatchTargetNotFound},
		"a value is never expanded again":       {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "{oob.target}", result: nevisfido.InternalError},
		"line break":                            {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "a@example.com\r\nBcc: b@example.com", result: nevisfido.DispatchError},
		"line break at the end":                 {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "a@example.com\n", result: nevisfido.DispatchError},
		"lines of a postal address":             {registeredFor: "push", channel: Channel{Type: "letter", Address: "{header}", Traits: dispatchers.Traits{AddressLines: true}}, header: "Jeff Muster\r\nWeg 1\n8000 Zürich", want: "Jeff Muster\r\nWeg 1\n8000 Zürich"},
		"NUL in a postal address":               {registeredFor: "push", channel: Channel{Type: "letter", Address: "{header}", Traits: dispatchers.Traits{AddressLines: true}}, header: "Jeff\x00", result: nevisfido.DispatchError},
		"NUL":                                   {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "a\x00@example.com", result: nevisfido.DispatchError},
		"next line (C1)":                        {registeredFor: "push", channel: Channel{Type: "smtp", Address: "{header}"}, header: "a\u0085@example.com", result: nevisfido.DispatchError},
		"an answer to the caller needs none":    {registeredFor: "push", channel: Channel{Type: "qr_code", Traits: dispatchers.Traits{AnswersCaller: true}}},
		"nor is it given the target's":          {registeredFor: "c", channel: Channel{Type: "link", Traits: dispatchers.Traits{AnswersCaller: true}}},
		"optional, and another kind registered": {registeredFor: "push", channel: Channel{Type: "webhook", Traits: dispatchers.Traits{AddressOptional: true}}},
		"optional, and the operator's is empty": {registeredFor: "c", channel: Channel{Type: "webhook", Address: "{header}", Traits: dispatchers.Traits{AddressOptional: true}}, result: nevisfido.DispatchTargetNotFound},
		"optional, and registered":              {registeredFor: "c", channel: Channel{Type: "webhook", Traits: dispatchers.Traits{AddressOptional: true}}, want: own},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.register(c.registeredFor, h.device)
			h.Lookup = func(r *http.Request, name string) (string, bool) { return r.Header.Get("X-To"), name == "header" }
			h.push()
			h.add(Channel{Name: "mail", Type: "smtp"})
			c.channel.Name = "c"
			g := h.add(c.channel)
			id := h.targetID
			if c.noTarget {
				id = ""
			}
			r := newRequest(t, http.MethodPost, authentication, h.bodyFor("c", id))
			r.Header["X-To"] = []string{c.header}
			a := h.send(r)
			if c.result != "" {
				a.wantResult(t, c.result)
				if len(g.messages()) != 0 {
					t.Error("the dispatcher was called")
				}
				return
			}
			a.wantResult(t, nevisfido.Dispatched)
			want := c.want
			if want == own {
				want = h.pushToken
			}
			if got := g.one(t).Address; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// An address that was registered for a composite belongs to the one kind of
// member that takes addresses of targets.
func TestAddressRegisteredForAComposite(t *testing.T) {
	optional := dispatchers.Traits{AddressOptional: true}
	for name, c := range map[string]struct {
		members   []Channel // the first is the one that is asked
		ambiguous bool
		reached   bool
	}{
		"one kind":                       {members: []Channel{{Type: "fcm"}}, reached: true},
		"two of a kind":                  {members: []Channel{{Type: "fcm"}, {Type: "fcm"}}, reached: true},
		"beside an answer to the caller": {members: []Channel{{Type: "fcm"}, {Type: "link", Traits: dispatchers.Traits{AnswersCaller: true}}}, reached: true},
		"beside another address":         {members: []Channel{{Type: "fcm"}, {Type: "smtp", Address: "x@example.com"}}, reached: true},
		"beside an optional one":         {members: []Channel{{Type: "fcm"}, {Type: "webhook", Traits: optional}}, reached: true},
		"only an optional one":           {members: []Channel{{Type: "webhook", Traits: optional}}, reached: true},
		"two kinds":                      {members: []Channel{{Type: "fcm"}, {Type: "smtp"}}, ambiguous: true},
		"two optional kinds":             {members: []Channel{{Type: "webhook", Traits: optional}, {Type: "pager", Traits: optional}}, ambiguous: true},
		"the other kind":                 {members: []Channel{{Type: "webhook", Traits: optional}, {Type: "fcm"}}},
	} {
		for _, nested := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, nested %t", name, nested), func(t *testing.T) {
				h := newHarness(t)
				var first *guest
				var names []string
				for i, member := range c.members {
					member.Name = fmt.Sprint("m", i)
					names = append(names, member.Name)
					if g := h.add(member); i == 0 {
						first = g
					}
				}
				h.compose("c", firstOf(names...))
				if nested {
					h.compose("inner", h.Channels["c"].Composite.(composite))
					h.compose("c", firstOf("inner"))
				}
				h.register("c", h.device)
				h.dispatch("m0")
				got := first.messages()
				if reached := len(got) == 1 && got[0].Address == h.pushToken; reached != c.reached {
					t.Errorf("the member was called with %d messages; by its address: %t", len(got), reached)
				}
				if warned := strings.Contains(h.logs.String(), "members take addresses of several kinds"); warned != c.ambiguous {
					t.Errorf("warned: %t", warned)
				}
			})
		}
	}
}

func TestControlCharactersInTheTargetsAddress(t *testing.T) {
	h := newHarness(t)
	h.edit(func(t *targets.Target) { t.Address += "\r\nRCPT TO:<x@example.com>" })
	g := h.push()
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
	if len(g.messages()) != 0 {
		t.Error("the dispatcher was called")
	}
}
