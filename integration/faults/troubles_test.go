package faults

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// troubleOf is what the engine does in a cell.
func troubleOf(c *cell) trouble {
	if own, ok := ownTroubles[c.party][c.fault]; ok {
		return own
	}
	return troubles[c.fault]
}

var troubles = map[string]trouble{
	refused:    {refuse: true},
	resets:     {transport: reset},
	halfClosed: {transport: halfClose},
	drips:      {transport: drip},
	hangs:      {transport: hang},
	truncated:  {transport: truncate},
	lying:      {http: fault.WrongLength(100)},
	endless:    {http: fault.Flood},
	tooMany:    {http: fault.Answer(http.StatusTooManyRequests, nil, "")},
	tooManyRA:  {http: fault.Answer(http.StatusTooManyRequests, http.Header{"Retry-After": {"60"}}, "")},
	failing:    {http: fault.Answer(http.StatusInternalServerError, nil, "")},
	doubtful:   {http: carriedOut},
	goAway:     {encrypted: true, protocols: []string{"h2"}, http: fault.CloseAfter},
	expired:    {encrypted: true, certificate: func(e *engine) *tls.Config { return e.expired }},
	wrongName:  {encrypted: true, certificate: func(e *engine) *tls.Config { return e.wrongName }},
	unknownCA:  {encrypted: true, certificate: func(e *engine) *tls.Config { return e.unknown }},
	dnsFails:   {encrypted: true, name: true},
}

// ownTroubles are those of parties that do not speak HTTP.
var ownTroubles = map[string]map[string]trouble{
	"SMTP": {
		endless:  {transport: pours("220-")},
		tooMany:  {transport: replace("250 2.1.5", "450 4.7.1 Too many messages\r\n")},
		failing:  {transport: replace("250 2.1.0", "554 5.3.0 Failed\r\n")},
		doubtful: {transport: replace("Ok: kept", "451 4.3.0 Try again\r\n")},
	},
	"Redis": {
		lying:   {transport: says("$100\r\nOK\r\n")},
		endless: {transport: pours("+")},
		tooMany: {transport: says("-ERR max number of clients reached\r\n")},
		failing: {transport: says("-ERR internal\r\n")},
	},
}

// carriedOut answers 503 to a request that was carried out.
func carriedOut(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	regular.ServeHTTP(httptest.NewRecorder(), r)
	w.WriteHeader(http.StatusServiceUnavailable)
}
