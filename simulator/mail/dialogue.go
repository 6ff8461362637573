package mail

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

const maxMail = 4 << 20

// dialogue is one connection.
type dialogue struct {
	server *Server
	conn   net.Conn
	text   *textproto.Reader
	number int

	secure, greeted bool
	user            string // who is logged in
	sent            Mail   // as far as it came
}

func (s *Server) talk(c net.Conn, number int) {
	d := &dialogue{server: s, conn: c, number: number}
	if s.options.TLS == Implicit {
		d.conn, d.secure = tls.Server(c, s.config), true
	}
	d.text = textproto.NewReader(bufio.NewReader(d.conn))
	if struck, goOn := d.strike(AtGreeting); !goOn || !struck && !d.write("220 mail.example.com ESMTP") {
		return
	}
	for {
		line, err := d.text.ReadLine()
		if err != nil || !d.command(line) {
			return
		}
	}
}

// write answers, and reports whether the connection still stands.
func (d *dialogue) write(lines ...string) bool {
	_, err := io.WriteString(d.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err == nil
}

// command answers one, and reports whether the dialogue goes on.
func (d *dialogue) command(line string) bool {
	d.record(line)
	verb, argument, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if struck, goOn := d.strike(Point(verb)); struck {
		return goOn
	}
	switch verb {
	case "EHLO":
		return d.ehlo()
	case "STARTTLS":
		return d.startTLS()
	case "AUTH":
		return d.auth(argument)
	case "MAIL":
		return d.mail(argument)
	case "RCPT":
		return d.rcpt(argument)
	case "DATA":
		return d.data()
	case "RSET":
		d.reset()
		return d.write("250 2.0.0 Ok")
	case "NOOP":
		return d.write("250 2.0.0 Ok")
	case "QUIT":
		_ = d.write("221 2.0.0 Bye")
		return false
	}
	return d.write("500 5.5.2 Unknown command")
}

func (d *dialogue) record(line string) {
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	d.server.commands = append(d.server.commands, line)
}

func (d *dialogue) reset() { d.sent = Mail{Encrypted: d.secure, User: d.user, Connection: d.number} }

func (d *dialogue) ehlo() bool {
	d.reset()
	d.greeted = true
	lines := []string{"mail.example.com", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"}
	if d.server.options.TLS == STARTTLS && !d.secure {
		lines = append(lines, "STARTTLS")
	} else if d.server.options.User != "" {
		lines = append(lines, "AUTH "+strings.Join(d.server.options.Mechanisms, " "))
	}
	for i := range lines[:len(lines)-1] {
		lines[i] = "250-" + lines[i]
	}
	lines[len(lines)-1] = "250 " + lines[len(lines)-1]
	return d.write(lines...)
}

func (d *dialogue) startTLS() bool {
	if d.server.options.TLS != STARTTLS || d.secure {
		return d.write("502 5.5.1 Not available")
	}
	if !d.write("220 2.0.0 Go ahead") {
		return false
	}
	client := tls.Server(d.conn, d.server.config)
	if client.Handshake() != nil {
		return false
	}
	d.conn, d.secure, d.greeted = client, true, false
	d.text = textproto.NewReader(bufio.NewReader(client))
	return true
}

// refuse answers a command that comes too early.
func (d *dialogue) refuse(needsLogin bool) (answer string, refused bool) {
	switch {
	case d.server.options.TLS == STARTTLS && !d.secure:
		return "530 5.7.0 Must issue a STARTTLS command first", true
	case !d.greeted:
		return "503 5.5.1 Send EHLO first", true
	case needsLogin && d.server.options.User != "" && d.user == "":
		return "530 5.7.0 Authentication required", true
	}
	return "", false
}

func (d *dialogue) auth(argument string) bool {
	if answer, refused := d.refuse(false); refused {
		return d.write(answer)
	}
	mechanism, initial, _ := strings.Cut(argument, " ")
	if !slices.Contains(d.server.options.Mechanisms, mechanism) {
		return d.write("504 5.5.4 Unrecognized authentication type")
	}
	o := d.server.options
	var right bool
	switch mechanism {
	case "PLAIN":
		right = d.answer(initial, "") == "\x00"+o.User+"\x00"+o.Password
	case "XOAUTH2":
		right = d.answer(initial, "") == "user="+o.User+"\x01auth=Bearer "+o.Password+"\x01\x01"
	case "LOGIN":
		user := d.answer(initial, "Username:")
		right = d.answer("", "Password:") == o.Password && user == o.User
	}
	if !right {
		return d.write("535 5.7.8 Authentication of " + o.User + " failed")
	}
	d.user = o.User
	return d.write("235 2.7.0 Authentication successful")
}

// answer returns the initial response, or else that to a challenge.
func (d *dialogue) answer(initial, challenge string) string {
	if initial == "" {
		if !d.write("334 " + base64.StdEncoding.EncodeToString([]byte(challenge))) {
			return ""
		}
		initial, _ = d.text.ReadLine()
	}
	response, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return ""
	}
	return string(response)
}

var (
	mailFrom = regexp.MustCompile(`^FROM:<([^<>\s]+@[^<>\s]+)>( BODY=8BITMIME)?$`)
	rcptTo   = regexp.MustCompile(`^TO:<([^<>\s]+@[^<>\s]+)>$`)
)

func (d *dialogue) mail(argument string) bool {
	if answer, refused := d.refuse(true); refused {
		return d.write(answer)
	}
	match := mailFrom.FindStringSubmatch(argument)
	if match == nil || d.sent.From != "" {
		return d.write("501 5.5.4 Bad sender, parameter or sequence")
	}
	d.reset()
	d.sent.From = match[1]
	return d.write("250 2.1.0 Ok")
}

func (d *dialogue) rcpt(argument string) bool {
	match := rcptTo.FindStringSubmatch(argument)
	if match == nil || d.sent.From == "" {
		return d.write("501 5.1.3 Bad recipient, parameter or sequence")
	}
	d.sent.To = append(d.sent.To, match[1])
	return d.write("250 2.1.5 Ok")
}

func (d *dialogue) data() bool {
	if len(d.sent.To) == 0 {
		return d.write("503 5.5.1 Send RCPT first")
	}
	if !d.write("354 End data with <CR><LF>.<CR><LF>") {
		return false
	}
	if struck, goOn := d.strike(AtContent); struck {
		return goOn
	}
	content, err := io.ReadAll(io.LimitReader(d.text.DotReader(), maxMail+1))
	if err != nil || len(content) > maxMail {
		return false
	}
	d.sent.Data = content
	defer d.reset()
	if struck, goOn := d.strike(AtEnd); struck {
		return goOn
	}
	d.server.inbox.Put(d.sent)
	return d.write("250 2.0.0 Ok: kept")
}
