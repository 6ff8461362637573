package exchange

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// ErrNoDispatcher reports a dispatcher that is not configured.
var ErrNoDispatcher = errors.New("there is no such dispatcher")

// testURL stands for what only nevisFIDO tells: the base URL of links without
// base_url, and where to redeem without redeem_url. RFC 2606 keeps the name from
// leading anywhere.
const testURL = "https://test.invalid"

// Send is a dispatch that an operator asks for, over a named dispatcher to a known
// target. It goes the way of all others, with their limits and what they do to
// targets, but for nevisFIDO: the token is one that no nevisFIDO knows. The
// payload has the member "test", and the record says Test. r stands for the
// caller's request: placeholders are resolved with it.
//
// It waits for all members of a composite. The error is ErrNoDispatcher,
// targets.ErrNotFound, or one of the arguments; a dispatch that fails is none.
func (x *Exchange) Send(r *http.Request, op nevisfido.Operation, dispatcher, target string) (Record, error) {
	request, err := testRequest(dispatcher, target)
	if err != nil {
		return Record{}, err
	}
	before, cancel := context.WithTimeout(r.Context(), x.Deadline)
	defer cancel()
	d, failure := x.choose(before, r, op, request)
	switch {
	case d.Channel == nil:
		return Record{}, ErrNoDispatcher
	case failure == nil && d.Target == nil:
		return Record{}, targets.ErrNotFound
	}
	e := conclusion{failure: failure}
	if failure == nil {
		e = x.sendTest(before, d)
	}
	e.test = true
	return x.report(d, e), nil
}

func (x *Exchange) sendTest(before context.Context, d *delivery.Dispatch) conclusion {
	lease, failure := x.courier.Admit(before, *d)
	if failure != nil {
		return conclusion{failure: failure}
	}
	defer lease.Release()
	answer := x.testAnswer(d.Operation)
	e := conclusion{token: answer.Token, delivery: x.courier.Deliver(*d, answer)}
	e.failure = e.delivery.Failure
	if rest := e.delivery.Receipt.Rest; rest != nil {
		rest()
		e.delivery.Receipt.Rest = nil
	}
	lease.GiveBack(d.HTTP.Context(), e.soFar(), e.failure)
	return e
}

// testRequest is what a caller would ask nevisFIDO for.
func testRequest(dispatcher, target string) (*nevisfido.DispatchRequest, error) {
	body, err := json.Marshal(map[string]any{
		"dispatcher": dispatcher, "dispatchTargetId": target,
		"dispatchInformation": map[string]any{
			"notification": map[string]string{"title": "Test", "body": "This is a test. There is nothing to confirm."},
			"data":         map[string]bool{"test": true},
		},
	})
	if err != nil {
		return nil, err
	}
	request, err := nevisfido.ParseDispatchRequest(body)
	if err != nil {
		return nil, fmt.Errorf("the names of dispatcher and target: %w", err)
	}
	return request, nil
}

// testAnswer is what nevisFIDO would answer.
func (x *Exchange) testAnswer(op nevisfido.Operation) *nevisfido.DispatchAnswer {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	token := hex.EncodeToString(random)
	redeem := cmp.Or(x.RedeemURL, testURL+x.BasePath+"/token/redeem") + "/" + string(op)
	return &nevisfido.DispatchAnswer{
		Token: token, Result: nevisfido.Dispatched,
		Response: nevisfido.Link(testURL, nevisfido.NewContent(token, redeem).Envelope()),
	}
}
