package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A sample is one measurement.
type sample struct {
	requests int
	wrong    int     // answers other than the expected ones
	rate     float64 // requests per second
	cpu      float64 // µs of the server for one request
	p99      float64 // seconds
}

// request returns a request as it goes over the wire: a raw one costs the
// machine less than an HTTP client would.
func request(method, path, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, len(body), body)
}

// measure lets callers ask for a work at the same time.
func (s *server) measure(w *work, conns int, length time.Duration) sample {
	var (
		mu    sync.Mutex
		took  []time.Duration
		wrong int
		group sync.WaitGroup
	)
	before, start := processTicks(s.cmd.Process.Pid), time.Now()
	end := start.Add(length)
	for range conns {
		group.Go(func() {
			own, bad, err := call(s.address, w, func(int) bool { return time.Now().Before(end) })
			if err != nil {
				log.Printf("load: %s: %v", w.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			took, wrong = append(took, own...), wrong+bad
		})
	}
	group.Wait()
	elapsed := time.Since(start).Seconds()
	ticks := processTicks(s.cmd.Process.Pid) - before
	n := len(took)
	if n == 0 {
		return sample{}
	}
	slices.Sort(took)
	return sample{
		requests: n, wrong: wrong,
		rate: float64(n) / elapsed,
		cpu:  float64(ticks) / ticksPerSecond * 1e6 / float64(n),
		p99:  took[n*99/100].Seconds(),
	}
}

// age brings a server into the state of a busy day: each target was asked for.
func age(s *server, o options, some ...*work) {
	var group sync.WaitGroup
	each := o.known / o.conns
	for _, w := range some {
		for range o.conns {
			group.Go(func() {
				if _, _, err := call(s.address, w, func(n int) bool { return n < each }); err != nil {
					log.Printf("load: aging: %v", err)
				}
			})
		}
		group.Wait()
	}
}

// call asks over one connection for as long as more says so.
func call(address string, w *work, more func(n int) bool) (took []time.Duration, wrong int, err error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 64<<10)
	for more(len(took)) {
		start := time.Now()
		_ = conn.SetDeadline(start.Add(20 * time.Second))
		if _, err := conn.Write(w.make()); err != nil {
			return took, wrong, err
		}
		body, err := readAnswer(reader)
		if err != nil {
			return took, wrong, err
		}
		took = append(took, time.Since(start))
		if !bytes.Contains(body, []byte(w.expect)) {
			wrong++
		}
	}
	return took, wrong, nil
}

// readAnswer reads one answer, which has a length.
func readAnswer(r *bufio.Reader) ([]byte, error) {
	h, err := readHead(r)
	if err != nil {
		return nil, err
	}
	if h.length < 0 {
		return nil, errors.New("an answer has no Content-Length")
	}
	body := make([]byte, h.length)
	_, err = io.ReadFull(r, body)
	return body, err
}

// head is what is known of a request or an answer before its body.
type head struct {
	first  string // line
	length int    // of the body, -1 where it is not told
	hangs  bool   // there is the header hang
}

func readHead(r *bufio.Reader) (h head, err error) {
	h.length = -1
	if h.first, err = r.ReadString('\n'); err != nil {
		return h, err
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return h, err
		}
		h.hangs = h.hangs || strings.TrimSpace(line) == hang
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Content-Length") {
			if h.length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return h, err
			}
		}
	}
}

// startUpstream starts what stands for nevisFIDO: it makes a token for every
// dispatch, whose answer carries a link, and costs as little as it can.
func startUpstream() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveUpstream(conn)
		}
	}()
	return l, nil
}

func serveUpstream(conn net.Conn) {
	defer conn.Close()
	payload := encode([]byte(`{"nma_data":{"token":"9a5c5b7e-5d0a-4f6e-9d6e-1f1c3b0c7a11","redeem_url":"https://login.example.com/nevisfido/token/redeem/authentication"},` +
		`"nma_data_content_type":"application/json","nma_data_version":"1"}`))
	dispatched := answer(`{"token":"9a5c5b7e-5d0a-4f6e-9d6e-1f1c3b0c7a11","sessionId":"0b0a6b12-7d5c-4a55-8a53-2f3f5b1d2c77","dispatchResult":"dispatched",` +
		`"dispatcherInformation":{"name":"link","response":"https://app.example.com/open?dispatchTokenResponse=` + payload + `"}}`)
	status := answer(`{"status":"clientTokenCreated","timestamp":"2026-11-28T07:32:16.000Z"}`)
	reader := bufio.NewReaderSize(conn, 16<<10)
	for {
		h, err := readHead(reader)
		if err != nil {
			return
		}
		if _, err := reader.Discard(max(0, h.length)); err != nil {
			return
		}
		if h.hangs {
			_, _ = reader.ReadByte() // until the proxy gives up
			return
		}
		out := status
		if strings.Contains(h.first, "/token/dispatch/") {
			out = dispatched
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func answer(body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
