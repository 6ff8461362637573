package mail

import "strings"

// Point is where in the dialogue a fault strikes.
type Point string

// The points: the greeting, the commands, and two inside of DATA.
const (
	AtGreeting Point = "GREETING"
	AtEHLO     Point = "EHLO"
	AtSTARTTLS Point = "STARTTLS"
	AtAUTH     Point = "AUTH"
	AtMAIL     Point = "MAIL"
	AtRCPT     Point = "RCPT"
	AtDATA     Point = "DATA"
	AtContent  Point = "CONTENT" // DATA is answered, nothing of the mail read
	AtEnd      Point = "."       // the whole mail is read
	AtRSET     Point = "RSET"
	AtNOOP     Point = "NOOP"
	AtQUIT     Point = "QUIT"
)

// Fault is something that goes wrong.
type Fault struct {
	reply string
	do    action
}

type action int

const (
	reply action = iota
	hang
	drop
	flood
	pass
)

// The faults. At AtEnd the server has kept the mail before it hangs, drops the
// connection or floods it: the client cannot know.
var (
	Pass  = Fault{do: pass}  // none: the usual answer, so that a later one fails
	Hang  = Fault{do: hang}  // until the connection or the server ends
	Drop  = Fault{do: drop}  // the connection
	Flood = Fault{do: flood} // an answer without end
)

// Reply is an answer in place of the usual one, such as
// "451 4.7.1 Greylisted, come back later".
func Reply(answer string) Fault { return Fault{reply: answer} }

// Script has the next times that the dialogue comes to a point fail, once for
// each fault.
func (s *Server) Script(at Point, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[at] = append(s.faults[at], faults...)
}

func (s *Server) fault(at Point) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.faults[at]
	if len(queue) == 0 {
		return Fault{}, false
	}
	s.faults[at] = queue[1:]
	return queue[0], queue[0].do != pass
}

// strike has a fault happen, if there is one. It reports whether there was,
// and whether the dialogue can go on.
func (d *dialogue) strike(at Point) (struck, goOn bool) {
	f, ok := d.server.fault(at)
	if !ok {
		return false, true
	}
	return true, d.suffer(f)
}

// suffer has a fault happen, and reports whether the dialogue can go on.
func (d *dialogue) suffer(f Fault) bool {
	switch f.do {
	case reply:
		return d.write(f.reply) == nil && !strings.HasPrefix(f.reply, "421")
	case hang:
		d.hang()
	case flood:
		for d.write("250-"+strings.Repeat("x", 4000)) == nil {
			continue
		}
	case drop, pass:
	}
	return false
}

// Hanging gives a value each time that a Hang strikes.
func (s *Server) Hanging() <-chan struct{} { return s.hanging }

// hang waits for the client, or the server, to end the connection.
func (d *dialogue) hang() {
	select {
	case d.server.hanging <- struct{}{}:
	default: // nobody wants to know
	}
	for {
		if _, err := d.text.R.ReadByte(); err != nil {
			return
		}
	}
}
