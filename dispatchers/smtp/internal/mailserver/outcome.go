package mailserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The reasons of failed attempts, in addition to those of the packages
// dispatchers and httpclient.
const (
	reasonBusy           = "busy"
	reasonSTARTTLS       = "starttls"
	reasonAuth           = "auth"
	reasonProtocol       = "protocol"
	reasonServerRefused  = "server_refused"
	reasonDeferred       = "deferred"
	reasonNoMailbox      = "no_mailbox"
	reasonSenderRejected = "sender_rejected"
	reasonUncertain      = "uncertain"
)

// stage is a part of the dialogue with a server, in the order of time.
type stage int

const (
	atConnect stage = iota
	atHello
	atTLS
	atAuth
	atSender
	atRecipient
	atData
	atContent
	atEnd // the whole mail is out, and the answer to it is missing
)

func (s stage) String() string {
	return [...]string{
		"connecting to the mail server",
		"greeting the mail server",
		"starting TLS with the mail server",
		"logging in to the mail server",
		"naming the sender to the mail server",
		"naming the recipient to the mail server",
		"announcing the mail to the mail server",
		"sending the mail",
		"handing over the mail",
	}[s]
}

// codeClosing is the answer of a server that closes the connection (RFC 5321,
// section 4.2.1).
const codeClosing = 421

// classify says what a failure at a stage means. Nothing of a server's text
// is in the error: servers quote addresses in it.
func classify(ctx context.Context, at stage, err error) *dispatchers.Error {
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return answered(at, answer)
	}
	if at == atEnd {
		return dispatchers.Fail(dispatchers.Refused, reasonUncertain,
			"%s: the mail server had all of it, and no answer came: the mail may be on its way, so it is not sent again. "+
				"Look for its Message-ID in the server's log; if the server is slow, raise timeout and deadline", at)
	}
	if ctx.Err() != nil {
		return httpclient.Explain(at.String(), ctx.Err())
	}
	_, nonsense := errors.AsType[textproto.ProtocolError](err)
	e := httpclient.Explain(at.String(), err)
	switch other := e.Reason == httpclient.ReasonConnection && !isNetwork(err); {
	case nonsense, errors.Is(err, errFlood), other && at != atTLS && at != atAuth:
		return dispatchers.Fail(dispatchers.Broken, reasonProtocol,
			"%s: it does not speak SMTP: check server, and tls implicit or starttls", at)
	case other && at == atTLS:
		return dispatchers.Fail(dispatchers.Broken, httpclient.ReasonTLS,
			"%s: the server and this side have no version or cipher of TLS in common: TLS 1.2 or later is needed", at)
	case other:
		return dispatchers.Fail(dispatchers.Broken, reasonAuth,
			"%s: the server's part of the login is wrong: check server, auth and auth_type", at)
	case e.Reason == httpclient.ReasonTLS:
		e.Err = fmt.Errorf("%w: check server, ca and client_cert, and tls implicit or starttls", e.Err)
	}
	return e
}

// isNetwork reports whether the connection failed, and not what came over it.
func isNetwork(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// gone are the enhanced codes of a recipient that there will never be (RFC
// 3463, section 3.2; RFC 7505 for 5.1.10).
var gone = []string{"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"}

// authCodes are the answers that ask for another login (RFC 4954, section 6).
var authCodes = []int{530, 534, 535, 538}

// answered says what an answer of the server means. The code decides (RFC
// 5321, section 4.2.1), and the enhanced code (RFC 3463) says more, unless it is
// of another class.
func answered(at stage, answer *textproto.Error) *dispatchers.Error {
	said := strconv.Itoa(answer.Code)
	code := enhanced.FindString(answer.Msg)
	if code != "" && code[0] == said[0] {
		said += " " + code
	} else {
		code = ""
	}
	fail := func(class dispatchers.Class, reason, advice string) *dispatchers.Error {
		return dispatchers.Fail(class, reason, "%s: it answered %s: %s", at, said, advice)
	}
	switch class := answer.Code / 100; {
	case class == 4:
		return fail(dispatchers.Temporary, reasonDeferred, "it may work later")
	case class != 5 && at == atEnd:
		return fail(dispatchers.Refused, reasonUncertain, "this does not say whether it has the mail, which is not sent again")
	case class != 5:
		return fail(dispatchers.Broken, reasonProtocol, "this is not an answer of SMTP: check server")
	case at == atAuth, slices.Contains(authCodes, answer.Code), code == "5.7.8":
		return fail(dispatchers.Broken, reasonAuth, "check auth, auth_type and tls")
	case at < atSender:
		return fail(dispatchers.Broken, reasonServerRefused, "the server takes nothing from here: check server, tls and helo")
	case at == atSender:
		return fail(dispatchers.Refused, reasonSenderRejected, "it does not take mail of this sender: check from, and the rights of the account")
	case slices.Contains(gone, code):
		return fail(dispatchers.Expired, reasonNoMailbox, "the mailbox does not exist")
	}
	return fail(dispatchers.Refused, dispatchers.ReasonRejected, "it does not take the mail; its log says why")
}
