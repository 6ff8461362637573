package faults

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is where the parties with certificates have their names. The
// resolver of this process asks nobody else, and no name leaves the machine.
const zone = ".faults.test"

// dns is the DNS of this process.
type dns struct {
	mu    sync.Mutex
	count int
	lost  map[string]bool
}

var names = &dns{lost: map[string]bool{}}

// next returns a name that stands for this machine.
func (d *dns) next() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	return fmt.Sprintf("party-%d%s", d.count, zone)
}

// lose has the server fail for a name, or know it again.
func (d *dns) lose(name string, lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost[name] = lost
}

// resolver asks this server, over a pipe in place of TCP (RFC 1035, section 4.2.2).
func (d *dns) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go d.serve(server)
		return client, nil
	}}
}

func (d *dns) serve(c net.Conn) {
	defer c.Close()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		query := make([]byte, size)
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		answer, err := d.answer(query)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (d *dns) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	d.mu.Lock()
	lost := d.lost[name]
	d.mu.Unlock()
	switch {
	case lost:
		m.RCode = dnsmessage.RCodeServerFailure
	case !strings.HasSuffix(name, zone):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}
