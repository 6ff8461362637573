package mail

import (
	"bufio"
	"bytes"
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
	user            string
	from            string
	to              []string
}

func (s *Server) talk(c net.Conn, number int) {
	d := &dialogue{server: s, conn: c, number: number}
	if s.options.TLS == Implicit {
		d.conn, d.secure = tls.Server(c, s.config), true
	}
	d.text = textproto.NewReader(bufio.NewReader(d.conn))
	if struck, goOn := d.strike(AtGreeting); !goOn || !struck && d.write("220 mail.example.com ESMTP") != nil {
		return
	}
	for {
		line, err := d.text.ReadLine()
		if err != nil || !d.command(line) {
			return
		}
	}
}

func (d *dialogue) write(lines ...string) error {
	_, err := io.WriteString(d.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err
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
		return d.write("250 2.0.0 Ok") == nil
	case "NOOP":
		return d.write("250 2.0.0 Ok") == nil
	case "QUIT":
		_ = d.write("221 2.0.0 Bye")
		return false
	}
	return d.write("500 5.5.2 Unknown command") == nil
}

func (d *dialogue) record(line string) {
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	d.server.commands = append(d.server.commands, line)
}

func (d *dialogue) reset() { d.from, d.to = "", nil }

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
	return d.write(lines...) == nil
}

func (d *dialogue) startTLS() bool {
	if d.server.options.TLS != STARTTLS || d.secure {
		return d.write("502 5.5.1 Not available") == nil
	}
	if d.write("220 2.0.0 Go ahead") != nil {
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
		return d.write(answer) == nil
	}
	mechanism, initial, _ := strings.Cut(argument, " ")
	if !slices.Contains(d.server.options.Mechanisms, mechanism) {
		return d.write("504 5.5.4 Unrecognized authentication type") == nil
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
		return d.write("535 5.7.8 Authentication of "+o.User+" failed") == nil
	}
	d.user = o.User
	return d.write("235 2.7.0 Authentication successful") == nil
}

// answer returns the initial response, or else that to a challenge.
func (d *dialogue) answer(initial, challenge string) string {
	if initial == "" {
		if d.write("334 "+base64.StdEncoding.EncodeToString([]byte(challenge))) != nil {
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
		return d.write(answer) == nil
	}
	match := mailFrom.FindStringSubmatch(argument)
	if match == nil || d.from != "" {
		return d.write("501 5.5.4 Bad sender, parameter or sequence") == nil
	}
	d.from = match[1]
	return d.write("250 2.1.0 Ok") == nil
}

func (d *dialogue) rcpt(argument string) bool {
	match := rcptTo.FindStringSubmatch(argument)
	if match == nil || d.from == "" {
		return d.write("501 5.1.3 Bad recipient, parameter or sequence") == nil
	}
	d.to = append(d.to, match[1])
	return d.write("250 2.1.5 Ok") == nil
}

func (d *dialogue) data() bool {
	if len(d.to) == 0 {
		return d.write("503 5.5.1 Send RCPT first") == nil
	}
	if d.write("354 End data with <CR><LF>.<CR><LF>") != nil {
		return false
	}
	if struck, goOn := d.strike(AtContent); struck {
		return goOn
	}
	content, err := io.ReadAll(io.LimitReader(d.text.DotReader(), maxMail+1))
	if err != nil || len(content) > maxMail {
		return false
	}
	m := Mail{
		From: d.from, To: d.to, Data: bytes.Clone(content), Encrypted: d.secure,
		User: d.user, Connection: d.number,
	}
	d.reset()
	struck, goOn := d.strikeAtEnd(m)
	if struck {
		return goOn
	}
	d.server.keep(m)
	return d.write("250 2.0.0 Ok: kept") == nil
}

// strikeAtEnd keeps the mail if the fault is not an answer.
func (d *dialogue) strikeAtEnd(m Mail) (struck, goOn bool) {
	f, ok := d.server.fault(AtEnd)
	if !ok {
		return false, true
	}
	if f.do != reply {
		d.server.keep(m)
	}
	return true, d.suffer(f)
}
