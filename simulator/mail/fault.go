package mail

import (
	"io"
	"strings"
)

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

// Fault is something that goes wrong. One that is no answer has happened after
// the server has kept the mail, where it strikes AtEnd: the client cannot know.
type Fault struct {
	answer string
	act    func(*dialogue)
}

// The faults that are no answer.
var (
	Pass  = Fault{}                        // none: the usual answer, so that a later one fails
	Hang  = Fault{act: (*dialogue).hang}   // until the connection or the server ends
	Drop  = Fault{act: func(*dialogue) {}} // the connection
	Flood = Fault{act: (*dialogue).flood}  // an answer without end
)

// Reply is an answer in place of the usual one, such as
// "451 4.7.1 Greylisted, come back later".
func Reply(answer string) Fault { return Fault{answer: answer} }

// Script has the next times that the dialogue comes to a point fail, once for
// each fault.
func (s *Server) Script(at Point, faults ...Fault) { s.script.Add(string(at), faults...) }

// Always sets the fault for every time that the dialogue comes to a point for
// which Script left none; [Pass] ends that.
func (s *Server) Always(at Point, f Fault) { s.script.Always(string(at), f) }

// strike has a fault happen, if there is one. It reports whether there was,
// and whether the dialogue can go on.
func (d *dialogue) strike(at Point) (struck, goOn bool) {
	f, _ := d.server.script.Next(string(at))
	switch {
	case f.act != nil:
		if at == AtEnd {
			d.server.inbox.Put(d.sent)
		}
		f.act(d)
		return true, false
	case f.answer != "":
		return true, d.write(f.answer) && !strings.HasPrefix(f.answer, "421")
	}
	return false, true
}

// Hanging gives a value each time that a Hang strikes.
func (s *Server) Hanging() <-chan struct{} { return s.hanging }

// hang waits for the client, or the server, to end the connection.
func (d *dialogue) hang() {
	select {
	case d.server.hanging <- struct{}{}:
	default: // nobody wants to know
	}
	_, _ = io.Copy(io.Discard, d.text.R)
}

func (d *dialogue) flood() {
	for d.write("250-" + strings.Repeat("x", 4000)) {
		continue
	}
}
