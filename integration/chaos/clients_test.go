package chaos

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
)

// How many clients call at the same time, and a pair of phones for three of four.
const (
	crowd = 64
	few   = 16 // in a brief test
)

// lifetime is how many operations a pair of phones sees before it is given up.
const lifetime = 400

// phone is one with an app. Two share a device id, as two apps on a device do.
type phone struct {
	*device.Device
	number    int64
	target    string
	addresses atomic.Int64
}

func (p *phone) address() string { return fmt.Sprintf("%d.%d", p.number, p.addresses.Add(1)) }

// pair are two phones of one device that anybody may use.
type pair struct {
	phones [2]*phone
	left   atomic.Int64
}

// clients are relying parties and phones, each call through another sidecar.
type clients struct {
	*parties
	cluster *cluster
	http    *http.Client
	ctx     context.Context
	workers int
	pairs   []atomic.Pointer[pair]
	making  []sync.Mutex // one for each of pairs
	numbers atomic.Int64

	operations atomic.Int64
	refused    atomic.Int64 // answered otherwise than hoped for
	unknown    atomic.Int64 // not answered
}

func newClients(p *parties, c *cluster, workers int) *clients {
	pairs := workers * 3 / 4
	x := &clients{parties: p, cluster: c, ctx: p.t.Context(), workers: workers, pairs: make([]atomic.Pointer[pair], pairs), making: make([]sync.Mutex, pairs)}
	x.http = &http.Client{
		Timeout: 6 * time.Second, Transport: &router{x, &http.Transport{MaxIdleConnsPerHost: workers}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return x
}

// router sends each request to a sidecar: that of the context, or any.
type router struct {
	*clients
	transport http.RoundTripper
}

type viaKey struct{}

// RoundTrip implements http.RoundTripper.
func (r *router) RoundTrip(request *http.Request) (*http.Response, error) {
	via, ok := request.Context().Value(viaKey{}).(*sidecar)
	if !ok {
		via = r.cluster.sidecars[mrand.IntN(parts)]
	}
	request = request.Clone(request.Context())
	request.URL.Host, request.Host = via.Address, via.Address
	r.operations.Add(1)
	response, err := r.transport.RoundTrip(request)
	switch {
	case err != nil:
		r.unknown.Add(1)
	case response.StatusCode/100 != 2:
		r.refused.Add(1)
	}
	return response, err
}

// work calls until the context ends.
func (x *clients) work(ctx context.Context) {
	for ctx.Err() == nil {
		slot := mrand.IntN(len(x.pairs))
		switch p := x.pairs[slot].Load(); {
		case p != nil && p.left.Add(-1) > 0:
			x.call(p)
		case p != nil:
			x.pairs[slot].CompareAndSwap(p, nil)
			x.send(ctx, http.MethodDelete, "devices/credentials/"+p.phones[0].DeviceID(), "", "Device-Signature", x.sign(p.phones[0], device.Change{Name: rand.Text()}))
		case x.making[slot].TryLock():
			if p := x.register(ctx, x.cluster.sidecars[mrand.IntN(parts)]); p != nil {
				x.pairs[slot].Store(p)
			}
			x.making[slot].Unlock()
		}
	}
}

// call makes one of the calls that concern a target.
func (x *clients) call(p *pair) {
	one, other := p.phones[0], p.phones[1]
	if mrand.IntN(2) == 0 {
		one, other = other, one
	}
	target, credentials := "token/dispatch/targets/"+one.target, "devices/credentials/"+one.DeviceID()
	const jose = "application/jose"
	switch n := mrand.IntN(1000); {
	case n < 600:
		x.dispatch(x.ctx, one)
	case n < 700:
		x.send(x.ctx, http.MethodPatch, target, x.sign(one, device.Change{NewKey: "P-256"}), "Content-Type", jose)
	case n < 800:
		x.send(x.ctx, http.MethodPatch, target, x.sign(one, device.Change{Target: one.address()}), "Content-Type", jose)
	case n < 900:
		x.modify(x.ctx, one)
	case n < 950:
		x.send(x.ctx, http.MethodPatch, credentials, "", "Device-Signature", x.sign(one, device.Change{NewKey: "P-256", Target: one.address()}))
	case n < 990: // forged: signed with the other's key
		payload := fmt.Sprintf(`{"requestId":%q,"creationTimeInEpochMillis":%d,"dispatchTargetId":%q,"target":"forged"}`, rand.Text(), time.Now().UnixMilli(), one.target)
		jws, err := other.SignatureKey().Sign([]byte(payload))
		if err != nil {
			panic(err)
		}
		x.send(x.ctx, http.MethodPatch, target, jws, "Content-Type", jose)
	case n < 995:
		x.send(x.ctx, http.MethodDelete, target, "")
		p.left.Store(50)
	default: // a body that says nobody knows what: all of the device becomes unsure
		x.send(x.ctx, http.MethodPatch, credentials, "{}", "Device-Signature", x.sign(one, device.Change{}))
	}
}

// modify brings all members that a message needs. It tells whether nevisFIDO's
// answer is that it has them.
func (x *clients) modify(ctx context.Context, p *phone) bool {
	jws := x.sign(p, device.Change{NewKey: "P-256", Target: p.address(), Dispatcher: nevisfido.BuiltInLink})
	status, _ := x.send(ctx, http.MethodPatch, "token/dispatch/targets/"+p.target, jws, "Content-Type", "application/jose")
	return status == http.StatusNoContent
}

func (x *clients) sign(p *phone, c device.Change) string {
	jws, err := p.Sign(c)
	if err != nil {
		panic(err) // it has a target
	}
	return jws
}

// dispatch tells whether the answer says that the message was sent.
func (x *clients) dispatch(ctx context.Context, p *phone) bool {
	body := fmt.Sprintf(`{"dispatcher":"out","dispatchTargetId":%q,"dispatchInformation":{"data":{"for":%q,"call":"%d",%s}},`+
		`"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, p.target, p.target, x.book.now(), asked)
	_, answer := x.send(ctx, http.MethodPost, "token/dispatch/authentication", body, "Content-Type", "application/json")
	return strings.Contains(answer, `"dispatchResult":"dispatched"`)
}

// send makes a call of nevisFIDO. The status is 0 where no answer came.
func (x *clients) send(ctx context.Context, method, path, body string, header ...string) (status int, answer string) {
	request, err := http.NewRequestWithContext(ctx, method, "http://sidecar/nevisfido/"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := x.http.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// register makes a pair of phones through one sidecar. They are given to others
// when the store has both: while a new target waits in a sidecar, its calls have to
// go there (docs/model.md).
func (x *clients) register(ctx context.Context, via *sidecar) *pair {
	p := &pair{}
	p.left.Store(lifetime)
	life := via.lives.Load()
	id := "device-" + rand.Text()
	for i := range p.phones {
		one := &phone{number: x.numbers.Add(1)}
		var err error
		if one.Device, err = device.New(device.Options{DeviceID: id, Target: one.address(), KeyKind: "P-256", RequireSealed: true, Client: x.http}); err != nil {
			panic(err)
		}
		if one.Register(context.WithValue(ctx, viaKey{}, via), "http://sidecar/nevisfido", device.Registration{}) != nil {
			return nil
		}
		one.target = one.TargetID()
		x.phones.Store(fmt.Sprint(one.number), one)
		p.phones[i] = one
	}
	for ctx.Err() == nil && via.lives.Load() == life {
		if n, err := unsynced(via.Address); err == nil && n == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return p
}
