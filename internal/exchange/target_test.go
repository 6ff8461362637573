package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

const registrationPath = "/nevisfido/uaf/1.1/registration"

func targetPath(id string) string { return targetsPath + "/" + id }

// newTarget returns a create request, and the key of the device that it is for.
func newTarget(tb testing.TB, dispatcher string) (string, *devicekey.PrivateKey) {
	tb.Helper()
	key := must[*devicekey.PrivateKey](tb)(devicekey.GenerateKey("P-256"))
	return `{ "name":"phone", "target":"new-address", "dispatcher" : "` + dispatcher + `", "x":1.0, "encryptionKey":` + string(key.Public().JWK()) + `}`, key
}

// created plays a nevisFIDO that makes a target with the id of the harness.
func (h *harness) created() Next {
	return respond(http.StatusCreated, `{ "id":"`+h.targetID+`", "extId":"e" }`)
}

func TestCreateTarget(t *testing.T) {
	for name, c := range map[string]struct {
		dispatcher, forwarded string
		path                  string
	}{
		"of ours":               {"push", "link", targetsPath},
		"of ours, with a slash": {"push", "link", targetsPath + "/"},
		"of nevisFIDO's":        {"firebase-cloud-messaging", "firebase-cloud-messaging", targetsPath},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			h.edit(func(t *targets.Target) { t.DeviceID = "old" })
			body, key := newTarget(t, c.dispatcher)
			h.upstream.answer = with(h.created(), "ETag", `"1"`)
			r := newRequest(t, http.MethodPost, c.path, body)
			r.Header.Set("Accept-Encoding", "gzip")
			a := h.send(r)
			if a.err != nil || a.Code != http.StatusCreated || a.Body.String() != `{ "id":"`+h.targetID+`", "extId":"e" }` || a.Header().Get("ETag") != `"1"` {
				t.Errorf("answered %d %s, %v, %v", a.Code, a.Body, a.Header(), a.err)
			}
			got := h.upstream.one(t)
			if want := strings.Replace(body, `"`+c.dispatcher+`"`, `"`+c.forwarded+`"`, 1); got.body != want || got.length != int64(len(want)) {
				t.Errorf("forwarded %s", got.body)
			}
			if got.header.Get("Accept-Encoding") != "identity" {
				t.Error("asked for a coded answer")
			}
			record := h.record()
			if record.Dispatcher != c.dispatcher || record.Address != "new-address" || record.Thumbprint != key.Public().Thumbprint() || record.DeviceID != "" || record.Source != targets.SourceCreate {
				t.Errorf("stored %+v", record)
			}
		})
	}
}

// A target is used as soon as its creation was answered.
func TestCreatedTargetIsReached(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	dispatched := h.upstream.answer
	body, key := newTarget(t, "push")
	h.upstream.answer = h.created()
	h.send(newRequest(t, http.MethodPost, targetsPath, body))
	h.upstream.answer = dispatched
	h.dispatch("push").wantResult(t, nevisfido.Dispatched)
	if open(t, key, g.one(t)).Token != h.token || g.one(t).Address != "new-address" {
		t.Error("the message went to the old key or address")
	}
}

func TestNothingIsLearnedOfARefusedTarget(t *testing.T) {
	for name, next := range map[string]Next{
		"422":              respond(http.StatusUnprocessableEntity, `{"id":"x"}`),
		"401":              respond(http.StatusUnauthorized, ``),
		"500":              respond(http.StatusInternalServerError, `{"id":"x"}`),
		"200":              respond(http.StatusOK, `{"id":"x"}`),
		"202":              respond(http.StatusAccepted, `{"id":"x"}`),
		"no id":            respond(http.StatusCreated, `{}`),
		"not JSON":         respond(http.StatusCreated, `<html>`),
		"nothing":          func(http.ResponseWriter, *http.Request) error { return nil },
		"an error":         func(http.ResponseWriter, *http.Request) error { return errors.New("dial") },
		"an id beyond use": respond(http.StatusCreated, `{"id":["x"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			before := string(h.store.Dump())
			h.upstream.answer = next
			body, _ := newTarget(t, "push")
			a := h.send(newRequest(t, http.MethodPost, targetsPath, body))
			if string(h.store.Dump()) != before {
				t.Errorf("stored %s", h.store.Dump())
			}
			if (a.err != nil) != (name == "an error") {
				t.Errorf("got %v", a.err)
			}
			w := httptest.NewRecorder()
			if name != "an error" {
				_ = next(w, nil)
				if a.Code != w.Code || a.Body.String() != w.Body.String() {
					t.Errorf("answered %d %s", a.Code, a.Body)
				}
			}
		})
	}
}

// What nevisFIDO accepted and we cannot read may be another key.
func TestUnreadableButAccepted(t *testing.T) {
	jwk, key := newTarget(t, "push")
	for name, c := range map[string]struct {
		path, contentType, body, answer string
	}{
		"duplicate names": {targetsPath, "application/json", `{"name":"a","name":"b"}`, ""},
		"UTF-16":          {targetsPath, "application/json", "{\x00}\x00", ""},
		"another charset": {targetsPath, "application/json; charset=utf-16", jwk, ""},
		"no media type":   {targetsPath, "", jwk, ""},
		"too large":       {targetsPath, "application/json", `{"name":"` + strings.Repeat("x", 256<<10) + `"}`, ""},
		"a registration":  {registrationPath, "application/fido+uaf", `{"context":"{}",}`, `{"statusCode":1200,"description":"{\"dispatchTargetId\":\"%s\"}"}`},
		"a large one":     {registrationPath, "application/fido+uaf", `{"context":"` + strings.Repeat("x", 256<<10) + `"}`, `{"statusCode":1200,"description":"{\"dispatchTargetId\":\"%s\"}"}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.upstream.answer = h.created()
			if c.answer != "" {
				h.upstream.answer = respond(http.StatusOK, fmt.Sprintf(c.answer, h.targetID))
			}
			r := newRequest(t, http.MethodPost, c.path, c.body)
			r.Header.Set("Content-Type", c.contentType)
			if a := h.send(r); a.err != nil || a.Code/100 != 2 {
				t.Fatalf("answered %d, %v", a.Code, a.err)
			}
			if h.upstream.one(t).body != c.body {
				t.Error("the request was changed")
			}
			if record := h.record(); record != nil {
				t.Errorf("still stored: %+v (the new key is %s)", record, key)
			}
		})
	}
}

func TestRegistration(t *testing.T) {
	h := newHarness(t)
	description, key := newTarget(t, "push")
	body := string(toJSON(t, map[string]any{"uafResponse": "[]", "context": string(toJSON(t, map[string]any{"dispatchTarget": description}))}))
	answer := `{"statusCode":1200, "description":"{\"dispatchTargetId\":\"` + h.targetID + `\"}"}`
	h.upstream.answer = respond(http.StatusOK, answer)
	r := newRequest(t, http.MethodPost, registrationPath+"/", body)
	r.Header.Set("Content-Type", "application/fido+uaf")
	a := h.send(r)
	if a.err != nil || a.Body.String() != answer || h.upstream.one(t).body != body {
		t.Errorf("forwarded %s, answered %s", h.upstream.one(t).body, a.Body)
	}
	if record := h.record(); record.Thumbprint != key.Public().Thumbprint() || record.Source != targets.SourceRegistration {
		t.Errorf("stored %+v", record)
	}

	before := string(h.store.Dump())
	for name, answer := range map[string]string{
		"failed":       `{"statusCode":1498,"description":"{\"dispatchTargetId\":\"` + h.targetID + `\"}"}`,
		"no target":    `{"statusCode":1200,"description":"{}"}`,
		"not JSON":     `<html>`,
		"other target": `{"statusCode":1200,"description":""}`,
	} {
		h.upstream.answer = respond(http.StatusOK, answer)
		if a := h.send(newRequest(t, http.MethodPost, registrationPath, body)); a.Body.String() != answer || string(h.store.Dump()) != before {
			t.Errorf("%s: answered %s, stored %s", name, a.Body, h.store.Dump())
		}
	}
}

// What nevisFIDO made and we cannot name is told to the operator.
func TestUnidentifiedTarget(t *testing.T) {
	const accepted = `{"statusCode":1200,"description":%q}`
	jwk, _ := newTarget(t, "push")
	registration := `{"context":{"dispatchTarget":` + jwk + `}}`
	for name, c := range map[string]struct {
		path, body string
		next       Next
		reason     string // "" where there is nothing to tell
	}{
		"no id":                  {registrationPath, registration, respond(200, fmt.Sprintf(accepted, "OK")), targets.WhyNoID},
		"several":                {registrationPath, registration, respond(200, fmt.Sprintf(accepted, `{"id":"secret-1","targetId":"secret-2"}`)), targets.WhySeveralIDs},
		"not JSON":               {registrationPath, registration, respond(200, `secret-1`), targets.WhyNoAnswer},
		"coded":                  {registrationPath, registration, with(respond(200, `secret-1`), "Content-Encoding", "gzip"), targets.WhyNoAnswer},
		"too large":              {registrationPath, registration, respond(200, strings.Repeat(" ", 300<<10)), targets.WhyNoAnswer},
		"several in the request": {registrationPath, `{"context":[` + registration + `,{"dispatchTarget":{}}]}`, respond(200, fmt.Sprintf(accepted, "OK")), targets.WhyNoID},
		"create":                 {targetsPath, jwk, respond(201, `{"secret-1":1}`), targets.WhyNoID},
		"failed":                 {registrationPath, registration, respond(200, `{"statusCode":1498}`), ""},
		"refused":                {registrationPath, registration, respond(400, `secret-1`), ""},
		"without a target":       {registrationPath, `{"context":"{}"}`, respond(200, fmt.Sprintf(accepted, "OK")), ""},
		"perhaps without one":    {registrationPath, `{"context":"` + strings.Repeat("x", 300<<10) + `"}`, respond(200, fmt.Sprintf(accepted, "OK")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			var events []targets.Event
			h.Targets.Events = func(_ context.Context, e targets.Event) { events = append(events, e) }
			before := string(h.store.Dump())
			h.upstream.answer = c.next
			h.send(newRequest(t, http.MethodPost, c.path, c.body))
			if string(h.store.Dump()) != before {
				t.Errorf("stored %s", h.store.Dump())
			}
			if strings.Contains(h.logs.String(), "secret") {
				t.Errorf("the log shows the answer: %s", h.logs)
			}
			if c.reason == "" {
				if len(events) > 0 {
					t.Errorf("told %+v", events)
				}
				return
			}
			source := targets.SourceRegistration
			if c.path == targetsPath {
				source = targets.SourceCreate
			}
			if len(events) != 1 || events[0] != (targets.Event{Name: targets.EventUnidentified, Source: source, Reason: c.reason}) {
				t.Errorf("told %+v", events)
			}
			h.wantLog(`"level":"warn"`, source, c.reason)
		})
	}
}

// A record that is given up because a call was unreadable says which call.
func TestSourceOfADroppedRecord(t *testing.T) {
	for source, path := range map[string]string{targets.SourceCreate: targetsPath, targets.SourceRegistration: registrationPath} {
		h := newHarness(t)
		var events []targets.Event
		h.Targets.Events = func(_ context.Context, e targets.Event) { events = append(events, e) }
		h.upstream.answer = h.created()
		if path == registrationPath {
			h.upstream.answer = respond(http.StatusOK, `{"statusCode":1200,"dispatchTargetId":"`+h.targetID+`"}`)
		}
		h.send(newRequest(t, http.MethodPost, path, `{"context":"`+strings.Repeat("x", 300<<10)+`"}`))
		if len(events) != 1 || events[0].Name != targets.EventDropped || events[0].Source != source {
			t.Errorf("%s: told %+v", source, events)
		}
	}
}

// A registration that brings no target is none of our business.
func TestRegistrationWithoutATarget(t *testing.T) {
	h := newHarness(t)
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, newRequest(t, http.MethodPost, registrationPath, `{"uafResponse":"[]"}`), func(inner http.ResponseWriter, _ *http.Request) error {
		if inner != http.ResponseWriter(w) {
			t.Errorf("the answer goes through a %T", inner)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLargeCallsStreamThrough(t *testing.T) {
	large := strings.Repeat("x", 300<<10)
	for name, c := range map[string]struct{ method, path string }{
		"create":       {http.MethodPost, targetsPath},
		"registration": {http.MethodPost, registrationPath},
		"modify":       {http.MethodPatch, targetPath("another")},
		"query":        {http.MethodGet, targetsPath},
	} {
		for _, declared := range []bool{true, false} {
			t.Run(fmt.Sprint(name, declared), func(t *testing.T) {
				h := newHarness(t)
				h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Content-Type", "application/json")
					if declared {
						w.Header().Set("Content-Length", fmt.Sprint(len(large)))
					}
					w.WriteHeader(http.StatusOK)
					_, err := io.Copy(w, r.Body)
					return err
				}
				r := newRequest(t, c.method, c.path, large)
				if !declared {
					r.ContentLength = -1
				}
				a := h.send(r)
				if got := h.upstream.one(t); a.err != nil || got.body != large || a.Body.String() != large {
					t.Errorf("forwarded %d, answered %d bytes, %v", len(got.body), a.Body.Len(), a.err)
				}
			})
		}
	}
}

func TestQueryTargets(t *testing.T) {
	const answer = `{ "dispatchTargets" : [ {"id":%q,"name":"phone","dispatcher":"link","n":1.0}, {"id":"unknown","dispatcher":"link"}, {"id":%q,"dispatcher":"png-qr-code"} ] }`
	for name, c := range map[string]struct {
		prepare func(*harness)
		next    func(Next) Next
		renamed bool
		status  int
	}{
		"ours": {prepare: func(*harness) {}, renamed: true},
		"not stored yet": {prepare: func(h *harness) {
			h.store.Set(h.ref(), []byte("damaged"))
			h.store.SetFault(failAt(kvtest.Write))
			d := &nevisfido.TargetDescription{Dispatcher: "push"}
			_ = h.Targets.Learn(t.Context(), d, nevisfido.CreatedTarget{ID: h.targetID}, targets.SourceCreate)
		}, renamed: true},
		"not ours":       {prepare: func(h *harness) { h.register("firebase-cloud-messaging", nil) }},
		"unknown":        {prepare: func(h *harness) { h.edit(func(t *targets.Target) { t.Dispatcher = "" }) }},
		"store down":     {prepare: func(h *harness) { h.store.SetFault(failAt(kvtest.Load)) }},
		"gzip":           {prepare: func(*harness) {}, next: func(n Next) Next { return with(n, "Content-Encoding", "gzip") }},
		"another status": {prepare: func(*harness) {}, next: func(n Next) Next { return respondStatus(n, 403) }, status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			text := fmt.Sprintf(answer, h.targetID, h.targetID)
			h.upstream.answer = with(respond(http.StatusOK, text), "ETag", `"1"`)
			if c.next != nil {
				h.upstream.answer = c.next(h.upstream.answer)
			}
			c.prepare(h)
			a := h.send(newRequest(t, http.MethodGet, targetsPath+"?username=jeff", ""))
			want := text
			if c.renamed {
				want = strings.Replace(text, `"dispatcher":"link","n"`, `"dispatcher":"push","n"`, 1)
			}
			if a.err != nil || a.Body.String() != want || a.Code != max(c.status, 200) {
				t.Errorf("got %d %s, %v", a.Code, a.Body, a.err)
			}
			if (a.Header().Get("ETag") == "") != c.renamed {
				t.Errorf("ETag %q", a.Header().Get("ETag"))
			}
		})
	}
}

// respondStatus answers as another does, with a status of its own.
func respondStatus(next Next, status int) Next {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(status)
		return next(w, r)
	}
}

// modification returns the JWS of a change to the target.
func (h *harness) modification(members map[string]any) string {
	payload := map[string]any{"dispatchTargetId": h.targetID, "requestId": "r", "creationTimeInEpochMillis": time.Now().UnixMilli()}
	maps.Copy(payload, members)
	return must[string](h.tb)(h.signer.Sign(toJSON(h.tb, payload)))
}

func (h *harness) modify(jws string) *answer {
	h.tb.Helper()
	r := newRequest(h.tb, http.MethodPatch, targetPath(h.targetID), jws)
	r.Header.Set("Content-Type", "application/jose;charset=UTF-8")
	return h.send(r)
}

// T07: a change is what nevisFIDO accepted. While nobody knows, the record is
// stale.
func TestModifyTarget(t *testing.T) {
	for status, want := range map[int]struct {
		address string
		state   targets.State
	}{
		200: {"new", targets.Active}, 204: {"new", targets.Active},
		400: {"old", targets.Active}, 401: {"old", targets.Active}, 404: {"old", targets.Active}, 422: {"old", targets.Active},
		302: {"old", targets.Stale}, 500: {"old", targets.Stale}, 503: {"old", targets.Stale},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			h := newHarness(t)
			h.edit(func(t *targets.Target) { t.Address = "old" })
			jws := h.modification(map[string]any{"target": "new"})
			h.upstream.answer = func(w http.ResponseWriter, _ *http.Request) error {
				if record := h.record(); record.State() != targets.Stale {
					t.Errorf("while nevisFIDO is asked the record is %s", record.State())
				}
				w.Header().Set("X-Upstream", "1")
				w.WriteHeader(status)
				return nil
			}
			a := h.modify(jws)
			if a.err != nil || a.Code != status || a.Header().Get("X-Upstream") != "1" || h.upstream.one(t).body != jws {
				t.Errorf("answered %d, %v", a.Code, a.err)
			}
			if record := h.record(); record.Address != want.address || record.State() != want.state {
				t.Errorf("the record is %s, %s", record.Address, record.State())
			}
		})
	}
}

func TestDeleteTarget(t *testing.T) {
	for status, want := range map[int]targets.State{200: "", 204: "", 401: targets.Active, 404: targets.Active, 500: targets.Stale} {
		h := newHarness(t)
		h.upstream.answer = respond(status, "")
		a := h.send(newRequest(t, http.MethodDelete, targetPath(h.targetID), ""))
		if a.err != nil || a.Code != status {
			t.Errorf("%d: answered %d, %v", status, a.Code, a.err)
		}
		record := h.record()
		if (record == nil) != (want == "") || record != nil && record.State() != want {
			t.Errorf("%d: the record is %+v", status, record)
		}
	}
}

// A deleted or half-changed target gets no message.
func TestNoDispatchToADeletedTarget(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	dispatched := h.upstream.answer
	h.upstream.answer = respond(http.StatusNoContent, "")
	h.send(newRequest(t, http.MethodDelete, targetPath(h.targetID), ""))
	h.upstream.answer = dispatched
	h.dispatch("push").wantResult(t, nevisfido.DispatchTargetNotFound)

	h.register("push", h.device)
	h.upstream.answer = respond(http.StatusInternalServerError, "")
	h.modify(h.modification(map[string]any{"target": "new"}))
	h.upstream.answer = dispatched
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
	if len(g.messages()) != 0 {
		t.Error("a message was sent")
	}
}

// changes are the calls that may change the target.
func (h *harness) changes() map[string]*http.Request {
	h.tb.Helper()
	calls := make(map[string]*http.Request)
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		calls[method+" target"] = newRequest(h.tb, method, targetPath(h.targetID), h.modification(map[string]any{"target": "new"}))
		calls[method+" device"] = h.ofDevice(method)
	}
	return calls
}

// onEachChange runs a test with each of the changes of a target.
func onEachChange(t *testing.T, test func(t *testing.T, h *harness, r *http.Request)) {
	t.Helper()
	for name := range newHarness(t).changes() {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			test(t, h, h.changes()[name])
		})
	}
}

// If a record cannot be marked, nevisFIDO is not asked.
func TestMarkingFails(t *testing.T) {
	for _, at := range []kvtest.Op{kvtest.OfDevice, kvtest.Update, kvtest.Write} {
		onEachChange(t, func(t *testing.T, h *harness, r *http.Request) {
			if at == kvtest.OfDevice && r.URL.Path != devicePath {
				return
			}
			h.store.SetFault(failAt(at))
			h.wantNotForwarded(t, h.send(r), http.StatusServiceUnavailable)
			h.store.SetFault(nil)
			if record := h.record(); record.State() != targets.Active || record.Address != h.pushToken {
				t.Errorf("%s: the record is %+v", at, record)
			}
		})
	}
}

// The work on the store before nevisFIDO is asked takes no longer than all
// other work.
func TestMarkingHasAnEnd(t *testing.T) {
	onEachChange(t, func(t *testing.T, h *harness, r *http.Request) {
		h.Deadline = 50 * time.Millisecond
		h.store.SetFault(func(ctx context.Context, _ kvtest.Op) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > h.Deadline {
				t.Errorf("the store is given until %s", deadline)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		h.wantNotForwarded(t, h.send(r), http.StatusServiceUnavailable)
	})
}

// Who sends half of a request, and leaves, disables nothing.
func TestHalfAChangeMarksNothing(t *testing.T) {
	for _, half := range []string{"half", strings.Repeat("x", maxTargetBody+1)} {
		onEachChange(t, func(t *testing.T, h *harness, r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(half), iotest.ErrReader(io.ErrUnexpectedEOF)))
			r.ContentLength = -1
			if a := h.send(r); a.err == nil {
				t.Errorf("status %d", a.status())
			}
			if state := h.record().State(); state != targets.Active {
				t.Errorf("the target is %s", state)
			}
		})
	}
}

// If the outcome cannot be recorded, the record stays stale, and the caller
// gets nevisFIDO's answer.
func TestCommittingFails(t *testing.T) {
	h := newHarness(t)
	h.upstream.answer = func(w http.ResponseWriter, _ *http.Request) error {
		h.store.SetFault(failAt(kvtest.Update))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	a := h.modify(h.modification(map[string]any{"target": "new"}))
	if a.err != nil || a.Code != http.StatusNoContent {
		t.Errorf("answered %d, %v", a.Code, a.err)
	}
	h.store.SetFault(nil)
	if h.record().State() != targets.Stale {
		t.Error("the record is not stale")
	}
	h.wantLog(`"level":"error"`, "stays stale")
}

// nevisFIDO refuses the name of a dispatcher that only we know.
func TestModifyToADispatcherOfOurs(t *testing.T) {
	for name, c := range map[string]struct {
		members map[string]any
		status  int
		fault   kvtest.Op // after nevisFIDO's answer
		forged  bool
		want    int
		stored  string
	}{
		"of ours":                {members: map[string]any{"dispatcher": "mail"}, status: 422, want: 204, stored: "mail"},
		"unknown to all":         {members: map[string]any{"dispatcher": "nobody"}, status: 422, want: 422, stored: "push"},
		"and something else":     {members: map[string]any{"dispatcher": "mail", "name": "x"}, status: 422, want: 422, stored: "push"},
		"another status":         {members: map[string]any{"dispatcher": "mail"}, status: 401, want: 401, stored: "push"},
		"accepted":               {members: map[string]any{"dispatcher": "mail"}, status: 204, want: 204, stored: "mail"},
		"another target":         {members: map[string]any{"dispatcher": "mail", "dispatchTargetId": "x"}, status: 422, want: 422, stored: "push"},
		"an old one":             {members: map[string]any{"dispatcher": "mail", "creationTimeInEpochMillis": 1}, status: 422, want: 422, stored: "push"},
		"forged":                 {members: map[string]any{"dispatcher": "mail"}, forged: true, status: 422, want: 422, stored: "push"},
		"that cannot be applied": {members: map[string]any{"dispatcher": "mail"}, fault: kvtest.Write, status: 422, want: 422, stored: "push"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			h.add(Channel{Name: "mail", Type: "smtp"})
			h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
				if c.fault != "" {
					h.store.SetFault(failAt(c.fault))
				}
				return with(respond(c.status, "nevisFIDO's"), "X-Upstream", "1")(w, r)
			}
			if c.status == http.StatusNoContent {
				h.upstream.answer = respond(c.status, "")
			}
			jws := h.modification(c.members)
			if c.forged {
				h.signer = must[*devicekey.SigningKey](t)(devicekey.GenerateSigningKey("P-256"))
				jws = h.modification(c.members)
			}
			a := h.modify(jws)
			if a.status() != c.want {
				t.Errorf("answered %d, %v", a.status(), a.err)
			}
			if c.want == http.StatusNoContent && (a.Body.Len() != 0 || a.Header().Get("X-Upstream") != "") {
				t.Errorf("nevisFIDO's answer leaks: %v %s", a.Header(), a.Body)
			}
			h.store.SetFault(nil)
			record := h.record()
			if record.Dispatcher != c.stored || (record.State() == targets.Stale) != (c.fault != "") {
				t.Errorf("the record is %+v", record)
			}
		})
	}
}

// Hanging up at the right moment must not disable a target.
func TestClientGoneDuringAChange(t *testing.T) {
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		h := newHarness(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
			cancel()
			if err := r.Context().Err(); err != nil {
				return err // as the proxy does
			}
			if _, bounded := r.Context().Deadline(); !bounded {
				t.Error("nevisFIDO may take for ever")
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		r := newRequest(t, method, targetPath(h.targetID), h.modification(map[string]any{"target": "new"})).WithContext(ctx)
		if a := h.send(r); a.err != nil || a.Code != http.StatusNoContent {
			t.Errorf("%s: answered %d, %v", method, a.Code, a.err)
		}
		if record := h.record(); method == http.MethodPatch && (record.State() != targets.Active || record.Address != "new") || method == http.MethodDelete && record != nil {
			t.Errorf("%s: the record is %+v", method, record)
		}
	}
}

// While nevisFIDO is asked for a change, and for as long as nobody knows its
// outcome, the target is stale.
func TestUnansweredChangeLeavesTheRecordStale(t *testing.T) {
	for name, next := range map[string]Next{
		"panic":             func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
		"panic, half-way":   func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(204); panic(http.ErrAbortHandler) },
		"an error":          func(http.ResponseWriter, *http.Request) error { return errors.New("dial") },
		"an error, written": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(204); return errors.New("copy") },
		"nothing":           func(http.ResponseWriter, *http.Request) error { return nil },
		"500":               respond(http.StatusInternalServerError, ""),
		"504":               respond(http.StatusGatewayTimeout, ""),
	} {
		t.Run(name, func(t *testing.T) {
			onEachChange(t, func(t *testing.T, h *harness, r *http.Request) {
				g := h.push()
				dispatched := h.upstream.answer
				h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
					if record := h.record(); record.State() != targets.Stale {
						t.Errorf("while nevisFIDO is asked the record is %s", record.State())
					}
					return next(w, r)
				}
				var cause any
				func() {
					defer func() { cause = recover() }()
					h.send(r)
				}()
				if (cause != nil) != strings.HasPrefix(name, "panic") {
					t.Errorf("the server sees %v", cause)
				}
				if record := h.record(); record == nil || record.State() != targets.Stale || record.Address != h.pushToken || record.Fence != nil {
					t.Errorf("the record is %+v", record)
				}
				h.upstream.answer = dispatched
				h.dispatch("push").wantResult(t, nevisfido.DispatchError)
				if n := len(g.messages()); n != 0 {
					t.Errorf("%d messages were sent", n)
				}
				h.wantNotLocked(t)
			})
		})
	}
}

// wantNotLocked checks that nothing keeps a change of the target waiting.
func (h *harness) wantNotLocked(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := h.Targets.BeginDelete(ctx, h.targetID)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(ctx, 401); err != nil {
		t.Fatal(err)
	}
}

func TestWaitingForAnotherChangeHasAnEnd(t *testing.T) {
	h := newHarness(t)
	first := must[*targets.Change](t)(h.Targets.BeginDelete(t.Context(), h.targetID))
	defer func() { _ = first.Finish(t.Context(), 401) }()
	h.Deadline = 10 * time.Millisecond
	h.wantNotForwarded(t, h.send(newRequest(t, http.MethodDelete, targetPath(h.targetID), "")), http.StatusServiceUnavailable)
}

const devicePath = "/nevisfido/devices/credentials/device-1"

// ofDevice is a call for the device of the target, with what that signs.
func (h *harness) ofDevice(method string) *http.Request {
	h.tb.Helper()
	r := newRequest(h.tb, method, devicePath, "body")
	r.Header.Set("Device-Signature", h.modification(nil))
	return r
}

func TestChangeOfADevice(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		status int
		want   targets.State // "" where it is forgotten
	}{
		"deleted":          {http.MethodDelete, 204, ""},
		"deleted, 200":     {http.MethodDelete, 200, ""},
		"not deleted":      {http.MethodDelete, 401, targets.Active},
		"modified":         {http.MethodPatch, 200, targets.Stale},
		"not modified":     {http.MethodPatch, 400, targets.Active},
		"asked for":        {http.MethodGet, 200, targets.Active},
		"not there at all": {http.MethodDelete, 404, targets.Active},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.upstream.answer = with(respond(c.status, "answer"), "X-Upstream", "1")
			if c.status == http.StatusNoContent {
				h.upstream.answer = respond(c.status, "")
			}
			a := h.send(h.ofDevice(c.method))
			got := h.upstream.one(t)
			if a.err != nil || a.Code != c.status || c.status != 204 && a.Body.String() != "answer" || got.body != "body" || got.header.Get("Device-Signature") == "" {
				t.Errorf("answered %d %s, %v", a.Code, a.Body, a.err)
			}
			record := h.record()
			if (record == nil) != (c.want == "") || record != nil && record.State() != c.want {
				t.Errorf("the record is %+v", record)
			}
		})
	}
}

// A storm of calls that nobody signed, or somebody else, disables nothing, even
// where the store fails.
func TestUnsignedChangesOfADevice(t *testing.T) {
	h := newHarness(t)
	forger := must[*devicekey.SigningKey](t)(devicekey.GenerateSigningKey("P-256"))
	forged := must[string](t)(forger.Sign(toJSON(t, map[string]any{"dispatchTargetId": h.targetID, "creationTimeInEpochMillis": time.Now().UnixMilli()})))
	for _, signature := range []string{"", "jws", forged} {
		for _, status := range []int{401, 500, 502, 503, 504} {
			for _, method := range []string{http.MethodPatch, http.MethodDelete} {
				h.upstream.answer = respond(status, "")
				r := newRequest(t, method, devicePath, "jws")
				if signature != "" {
					r.Header.Set("Device-Signature", signature)
				}
				if a := h.send(r); a.err != nil || a.Code != status {
					t.Errorf("answered %d, %v", a.Code, a.err)
				}
				if record := h.record(); record.State() != targets.Active {
					t.Fatalf("%s, status %d: the record is %+v", method, status, record)
				}
			}
		}
	}
}

// What is let through while the store fails is not forgotten when the store is
// back and dispatching begins.
func TestObservedChangeWhileTheStoreFails(t *testing.T) {
	for status, want := range map[int]nevisfido.DispatchResult{
		204: nevisfido.DispatchError, 500: nevisfido.DispatchError, 401: nevisfido.Dispatched,
	} {
		onEachChange(t, func(t *testing.T, h *harness, r *http.Request) {
			h.push()
			dispatched := h.upstream.answer
			h.ObserveOnly = true
			h.store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("down") })
			h.upstream.answer = respond(status, "")
			if a := h.send(r); a.err != nil || a.Code != status {
				t.Errorf("answered %d, %v", a.Code, a.err)
			}
			h.wantLog(`"level":"error"`, "a change that is let through")
			h.store.SetFault(nil)
			h.ObserveOnly = false
			h.upstream.answer = dispatched
			if got := h.dispatch("push").outcome(t).Result; got != string(want) {
				t.Errorf("status %d: a dispatch gives %s, want %s", status, got, want)
			}
		})
	}
}

// A store that fails after nevisFIDO has made a target loses nothing: the answer
// is relayed, and the target is used at once.
func TestStoreFailsAfterACreation(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	dispatched := h.upstream.answer
	h.upstream.answer = func(w http.ResponseWriter, r *http.Request) error {
		h.store.SetFault(func(context.Context, kvtest.Op) error { return errors.New("down") })
		return h.created()(w, r)
	}
	body, key := newTarget(t, "push")
	if a := h.send(newRequest(t, http.MethodPost, targetsPath, body)); a.err != nil || a.Code != http.StatusCreated || !strings.Contains(a.Body.String(), h.targetID) {
		t.Errorf("answered %d %s, %v", a.Code, a.Body, a.err)
	}
	h.wantLog(`"level":"error"`, "learning a dispatch target")
	h.upstream.answer = dispatched
	h.dispatch("push").wantResult(t, nevisfido.Dispatched)
	if open(t, key, g.one(t)).Token != h.token || h.Targets.Unsynced.Len() != 1 {
		t.Errorf("the message went to the old key; %d are waiting", h.Targets.Unsynced.Len())
	}
	h.store.SetFault(nil)
	h.Targets.Flush(t.Context())
	if record := h.record(); record.Thumbprint != key.Public().Thumbprint() || h.Targets.Unsynced.Len() != 0 {
		t.Errorf("stored %+v", record)
	}
}

// nevisFIDO is not asked for a target that could not be kept.
func TestCreationWhileTheStoreFails(t *testing.T) {
	body, _ := newTarget(t, "push")
	registration := string(toJSON(t, map[string]any{"context": string(toJSON(t, map[string]any{"dispatchTarget": body}))}))
	for path, body := range map[string]string{targetsPath: body, registrationPath: registration} {
		h := newHarness(t)
		h.store.SetFault(failAt(kvtest.Write))
		h.wantNotForwarded(t, h.send(newRequest(t, http.MethodPost, path, body)), http.StatusServiceUnavailable)

		h.ObserveOnly = true
		h.upstream.answer = h.created()
		if a := h.send(newRequest(t, http.MethodPost, path, body)); a.err != nil || a.Code != http.StatusCreated {
			t.Errorf("%s: answered %d, %v", path, a.Code, a.err)
		}
	}
	h := newHarness(t)
	h.store.SetFault(failAt(kvtest.Write))
	h.upstream.answer = respond(http.StatusOK, `{"statusCode":1200}`)
	if a := h.send(newRequest(t, http.MethodPost, registrationPath, `{"uafResponse":"[]"}`)); a.err != nil || a.Code != http.StatusOK {
		t.Errorf("a registration without a target: answered %d, %v", a.Code, a.err)
	}
}

func TestRequestsThatBreakOff(t *testing.T) {
	for name, c := range map[string]struct{ method, path string }{
		"create":       {http.MethodPost, targetsPath},
		"registration": {http.MethodPost, registrationPath},
		"modify":       {http.MethodPatch, targetsPath + "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			r := newRequest(t, c.method, c.path, "")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)))
			r.ContentLength = 10
			h.wantNotForwarded(t, h.send(r), http.StatusBadRequest)
		})
	}
}

// A modification that streams through whole may have been made, whatever comes
// back and however the end of it was read.
func TestLargeModificationIsInDoubt(t *testing.T) {
	for _, declared := range []bool{true, false} {
		h := newHarness(t)
		h.push()
		r := newRequest(t, http.MethodPatch, targetPath(h.targetID), strings.Repeat("x", maxTargetBody+10))
		if !declared {
			r.ContentLength = -1
		}
		next := func(w http.ResponseWriter, r *http.Request) error {
			body := io.Reader(r.Body)
			if declared { // as a transport may do
				body = io.LimitReader(body, r.ContentLength)
			}
			_, _ = io.Copy(io.Discard, body)
			return respond(http.StatusServiceUnavailable, "")(w, r)
		}
		if err := h.ServeHTTP(httptest.NewRecorder(), r, next); err != nil {
			t.Fatal(err)
		}
		if state := h.record().State(); state != targets.Stale {
			t.Errorf("declared %t: the target is %s", declared, state)
		}
	}
}
