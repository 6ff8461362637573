package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// brokenSwitch is something that can be broken: the first position is how it
// should be.
type brokenSwitch struct {
	name      string
	positions []position
}

type position struct {
	name string
	turn func(*stack) error
}

func fcm(name string, f fault.Fault) position {
	return position{name, func(s *stack) error { s.google.Always(f); return nil }}
}

func mailServer(name string, f mail.Fault) position {
	return position{name, func(s *stack) error { s.mail.Always(mail.AtRCPT, f); return nil }}
}

func sms(name string, f fault.Fault) position {
	return position{name, func(s *stack) error { s.gateway.Always(f); return nil }}
}

func nevisFIDO(name string, m nevis.Mode) position {
	return position{name, func(s *stack) error { s.nevis.SetMode(m); return nil }}
}

var switches = []brokenSwitch{
	{"fcm", []position{
		fcm("works", fault.None),
		fcm("unregistered", google.Unregistered),
		fcm("429", google.QuotaExceeded("")),
		fcm("503", google.Unavailable("")),
		fcm("silent", fault.Hang),
	}},
	{"mail", []position{
		mailServer("works", mail.Pass),
		mailServer("refuses", mail.Reply("554 5.7.1 Message refused by policy")),
	}},
	{"sms", []position{
		sms("works", fault.None),
		sms("rejected", fault.JSON(`{"status":"rejected","reason":"no credit"}`)),
	}},
	{"store", []position{
		{"works", (*stack).mendStore},
		{"fails", (*stack).breakStore},
	}},
	{"nevisfido", []position{
		nevisFIDO("LTS21", nevis.LTS21),
		nevisFIDO("8.2511", nevis.V8_2511),
	}},
}

func (s *stack) storage() string { return filepath.Join(s.folder, "storage") }

// breakStore takes the volume of the store away; a file lies in its place, so
// that nothing can be written either.
func (s *stack) breakStore() error {
	if _, err := os.Stat(s.storage() + ".away"); err == nil {
		return nil // it is
	}
	if err := os.Rename(s.storage(), s.storage()+".away"); err != nil {
		return err
	}
	return os.WriteFile(s.storage(), nil, 0o600)
}

func (s *stack) mendStore() error {
	if _, err := os.Stat(s.storage() + ".away"); err != nil {
		return nil //nolint:nilerr // there is nothing to mend
	}
	return errors.Join(os.Remove(s.storage()), os.Rename(s.storage()+".away", s.storage()))
}

// setSwitch turns one switch.
func (p *page) setSwitch(w http.ResponseWriter, r *http.Request) {
	if !isJSON(w, r) {
		return
	}
	var q struct{ Name, Position string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, "The body is no JSON.")
		return
	}
	if err := p.turn(q.Name, q.Position); err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	p.changed()
	w.WriteHeader(http.StatusNoContent)
}

func (p *page) turn(name, to string) error {
	i := slices.IndexFunc(switches, func(s brokenSwitch) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("There is no switch %q.", name) //nolint:staticcheck // a sentence for users
	}
	j := slices.IndexFunc(switches[i].positions, func(q position) bool { return q.name == to })
	if j < 0 {
		return fmt.Errorf("The switch %q has no position %q.", name, to) //nolint:staticcheck // the same
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := switches[i].positions[j].turn(p.stack); err != nil {
		return fmt.Errorf("turning the switch %q: %w", name, err)
	}
	p.switches[name] = to
	return nil
}
