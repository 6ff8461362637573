package redisstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

var (
	ref    = targets.Ref{Namespace: "bank", ID: "one"}
	nobody = targets.Ref{Namespace: "bank", ID: "nobody"}
	limit  = targets.Count{Key: "limit", N: 1, Window: time.Hour}
)

// mustBeDown holds while Redis does not do its work: everything is
// unavailable, nothing is unknown, and nothing is unlimited.
func mustBeDown(t *testing.T, s *sidecar, because string) {
	t.Helper()
	mustNotRead(t, s, because)
	mustNotWrite(t, s, because)
}

func mustNotRead(t *testing.T, s *sidecar, because string) {
	t.Helper()
	_, loadErr := s.Load(t.Context(), ref)
	_, unknownErr := s.Load(t.Context(), nobody)
	_, deviceErr := s.OfDevice(t.Context(), "bank", "device-1", "jeff")
	_, getErr := s.Get(t.Context(), kvtest.LinkID(time.Now()))
	for op, err := range map[string]error{"Load": loadErr, "Load of nobody": unknownErr, "OfDevice": deviceErr, "Get": getErr} {
		mustFail(t, op, err, because)
	}
}

func mustNotWrite(t *testing.T, s *sidecar, because string) {
	t.Helper()
	updateErr := s.Update(t.Context(), nobody, kvtest.To(kvtest.Target(nobody)))
	reached, countErr := s.TakeAll(t.Context(), []targets.Count{{Key: "another", N: 1, Window: time.Hour}})
	putErr := s.Put(t.Context(), kvtest.LinkID(time.Now()), []byte("content"), time.Now().Add(time.Hour))
	content, takeErr := s.Take(t.Context(), kvtest.LinkID(time.Now()))
	for op, err := range map[string]error{"Update": updateErr, "TakeAll": countErr, "Put": putErr, "Take": takeErr} {
		mustFail(t, op, err, because)
	}
	if reached != -1 || content != nil {
		t.Errorf("TakeAll reached %d, Take returned %q", reached, content)
	}
}

func mustFail(t *testing.T, op string, err error, because string) {
	t.Helper()
	if err == nil || errors.Is(err, targets.ErrNotFound) || errors.Is(err, shortlink.ErrNotFound) || !strings.Contains(err.Error(), because) {
		t.Errorf("%s returned %v, want an error with %q", op, err, because)
	}
}

func mustBeUp(t *testing.T, s *sidecar) {
	t.Helper()
	if err := s.Update(t.Context(), ref, kvtest.To(kvtest.Target(ref))); err != nil {
		t.Error(err)
	}
	if _, err := s.Load(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if _, err := s.Load(t.Context(), nobody); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("an unknown target: %v", err)
	}
	if ids, err := s.OfDevice(t.Context(), "bank", "device-1", "jeff"); err != nil || len(ids) != 1 {
		t.Errorf("the device has %q, error %v", ids, err)
	}
	if _, err := s.TakeAll(t.Context(), []targets.Count{limit}); err != nil {
		t.Error(err)
	}
	mustTakeLink(t, s, putLink(t, s))
}

// Redis accepts no writes for a while, or does nothing at all.
func TestPause(t *testing.T) {
	for name, test := range map[string]struct {
		stop, goOn func(*server)
		reads      bool
	}{
		"no writes": {
			func(s *server) { s.do(t, "CLIENT", "PAUSE", 60_000, "WRITE") },
			func(s *server) { s.do(t, "CLIENT", "UNPAUSE") }, true,
		},
		"nothing": {func(s *server) { s.Signal(t, syscall.SIGSTOP) }, func(s *server) { s.Signal(t, syscall.SIGCONT) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			c := config(server)
			s := open(t, c)
			mustBeUp(t, s)
			c.Timeout = caddy.Duration(50 * time.Millisecond)
			hasty := operations(open(t, c))
			test.stop(server)
			for op, f := range hasty {
				err := f()
				if reading := op == "Load" || op == "OfDevice" || op == "Get"; test.reads && reading {
					if err != nil {
						t.Errorf("%s: %v", op, err)
					}
					continue
				}
				if timeout, ok := errors.AsType[net.Error](err); !errors.Is(err, context.DeadlineExceeded) && (!ok || !timeout.Timeout()) {
					t.Errorf("%s returned %v, want a timeout", op, err)
				}
			}
			test.goOn(server)
			mustBeUp(t, s)
			eventually(t, "the recovery", func() bool { return hasty["Load"]() == nil && hasty["Update"]() == nil })
		})
	}
}

// operations are all that a request makes of a store.
func operations(s *sidecar) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Load":     func() error { _, err := s.Load(ctx, ref); return err },
		"Update":   func() error { return s.Update(ctx, ref, increment) },
		"OfDevice": func() error { _, err := s.OfDevice(ctx, "bank", "device-1", "jeff"); return err },
		"TakeAll":  func() error { _, err := s.TakeAll(ctx, []targets.Count{limit}); return err },
		"Put":      func() error { return s.Put(ctx, kvtest.LinkID(time.Now()), nil, time.Now()) },
		"Get":      func() error { _, err := s.Get(ctx, kvtest.LinkID(time.Now())); return found(err) },
		"Take":     func() error { _, err := s.Take(ctx, kvtest.LinkID(time.Now())); return found(err) },
	}
}

// found makes no error of a claim that is not there: Redis has answered.
func found(err error) error {
	if errors.Is(err, shortlink.ErrNotFound) {
		return nil
	}
	return err
}

// A replica takes no writes, and one without its master may know nothing.
func TestReplica(t *testing.T) {
	master, server := start(t), start(t)
	s := open(t, config(server))
	mustBeUp(t, s)
	server.do(t, "REPLICAOF", "127.0.0.1", master.port())
	mustNotWrite(t, s, "READONLY")
	server.do(t, "CONFIG", "SET", "replica-serve-stale-data", "no")
	server.do(t, "REPLICAOF", "127.0.0.1", freePort(t))
	mustNotRead(t, s, "MASTERDOWN")
	mustNotWrite(t, s, "") // MASTERDOWN, or READONLY where nothing is read first
	server.do(t, "REPLICAOF", "NO", "ONE")
	mustBeUp(t, s)
}

func TestOutOfMemory(t *testing.T) {
	server := start(t)
	s := open(t, config(server))
	mustBeUp(t, s)
	server.do(t, "CONFIG", "SET", "maxmemory", "1")
	mustFail(t, "Update", s.Update(t.Context(), nobody, kvtest.To(kvtest.Target(nobody))), "OOM")
	another := targets.Count{Key: "another", N: 1, Window: time.Hour}
	mustTake(t, s, -1, another) // it has room for counters, or it would fail
	mustTake(t, s, 0, another)
	if _, err := s.Load(t.Context(), ref); err != nil {
		t.Error(err)
	}
	server.do(t, "CONFIG", "SET", "maxmemory", "0")
	mustBeUp(t, s)
}

// refuse is a Redis that answers every command with an error.
func refuse(t *testing.T, answer string) (url string) {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for skipCommand(in) {
			fmt.Fprintf(conn, "-%s\r\n", answer)
		}
	})
}

// serve handles each connection in a goroutine, and closes it then. All have to
// end by themselves before the test can.
func serve(t *testing.T, handle func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	return "redis://" + l.Addr().String()
}

// skipCommand reads an array of bulk strings.
func skipCommand(in *bufio.Reader) bool {
	line, err := in.ReadString('\n')
	if err != nil || line[0] != '*' {
		return false
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return false
	}
	for range n {
		if line, err = in.ReadString('\n'); err != nil {
			return false
		}
		length, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err != nil {
			return false
		}
		if _, err := in.Discard(length + len("\r\n")); err != nil {
			return false
		}
	}
	return true
}

func TestWhateverRedisRefuses(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"LOADING Redis is loading the dataset in memory", "CLUSTERDOWN The cluster is down", "BUSY Redis is busy running a script",
		"MISCONF Redis is configured to save RDB snapshots", "NOREPLICAS Not enough good replicas to write",
		"ERR max number of clients reached", "NOAUTH Authentication required.", "ERR unknown command", "TRYAGAIN Multiple keys",
	} {
		c := &Store{Addresses: []string{refuse(t, answer)}, KeyPrefix: "oob:", Options: kv.Options{Timeout: caddy.Duration(time.Minute)}}
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			mustBeDown(t, open(t, c), answer)
		})
	}
}

// relay stands before the common Redis. Requests and answers come in turns:
// nothing is pipelined here. It cuts the connection in place of an answer where
// answer returns false.
func relay(t *testing.T, request func(text string), answer func(request, text string) bool) (url string) {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		server, err := net.Dial("unix", common(t).Address)
		if err != nil {
			return
		}
		defer server.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			asked := string(buf[:n])
			request(asked)
			if _, err := io.WriteString(server, asked); err != nil {
				return
			}
			if n, err = server.Read(buf); err != nil || !answer(asked, string(buf[:n])) {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
}

// loss keeps back the answer to a script or a GETDEL, as often as it is told to.
type loss struct{ left atomic.Int32 }

func (a *loss) serve(t *testing.T) (url string) {
	t.Helper()
	return relay(t, func(string) {}, func(request, text string) bool {
		wanted := strings.Contains(request, "evalsha") && text[0] == ':' || strings.Contains(request, "getdel")
		return !wanted || a.left.Load() == 0 || a.left.Add(-1) < 0
	})
}

// The client asks again when it does not get an answer. What it asked for has
// happened once.
func TestLostAnswers(t *testing.T) {
	loss, c := new(loss), config(common(t))
	c.Addresses = []string{loss.serve(t)}
	s := open(t, c)
	record := kvtest.Target(ref)
	record.Modified = 0
	if err := s.Update(t.Context(), ref, kvtest.To(record)); err != nil {
		t.Fatal(err)
	}
	many := targets.Count{Key: "many", N: 100, Window: time.Hour}
	for i := range 5 {
		loss.left.Store(2)
		if err := s.Update(t.Context(), ref, increment); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(t.Context(), ref); err != nil || got.Modified != int64(i+1) || loss.left.Load() != 0 {
			t.Errorf("after %d increments there is %+v, error %v, %d answers are still to be lost", i+1, got, err, loss.left.Load())
		}
		loss.left.Store(2)
		mustTake(t, s, -1, many)
		n, err := s.shared.ZCard(t.Context(), s.redis.KeyPrefix+"{limit}:many").Result()
		if err != nil || n != int64(i+1) {
			t.Errorf("after %d dispatches %d are counted, error %v", i+1, n, err)
		}
	}
	loss.left.Store(2)
	edits := 0
	deleting := func(*targets.Target) (*targets.Target, error) {
		edits++
		return nil, nil
	}
	if err := s.Update(t.Context(), ref, deleting); err != nil || edits != 1 || loss.left.Load() != 0 {
		t.Errorf("a deletion was made %d times, error %v", edits, err)
	}
	last := targets.Count{Key: "last", N: 1, Window: time.Hour}
	loss.left.Store(1)
	mustTake(t, s, -1, last)
	mustTake(t, s, 0, last)
}
