// Package pager is a dispatcher in a module of its own: it hands messages to a
// pager gateway that takes one line of text, "<address> <link>", by TCP.
package pager

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func init() { caddy.RegisterModule(Pager{}) }

// Pager sends to the gateway at host:port.
type Pager struct {
	Gateway string `json:"gateway"`
}

// CaddyModule returns the Caddy module information.
func (Pager) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oob.dispatchers.pager", New: func() caddy.Module { return new(Pager) }}
}

// Traits says what the channel needs: an address, and encryption.
func (*Pager) Traits() dispatchers.Traits { return dispatchers.Traits{} }

// Dispatch makes one attempt.
func (p *Pager) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Gateway)
	if err != nil {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Temporary, "connection", "dialing the pager gateway: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s\n", m.Address, m.Link)
	if answer, err := bufio.NewReader(conn).ReadString('\n'); err != nil || answer != "OK\n" {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, "gateway", "the pager gateway did not take the message")
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// UnmarshalCaddyfile reads: pager <host:port>
func (p *Pager) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.Args(&p.Gateway) || d.NextArg() || d.NextBlock(0) {
		return d.Err("pager takes the gateway's host:port and nothing else")
	}
	return nil
}
