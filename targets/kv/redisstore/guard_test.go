package redisstore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// A Redis that announces more than fits into memory costs nothing, and its
// timeout holds.
func TestReplyThatIsTooLarge(t *testing.T) {
	for _, reply := range []string{
		"*1000000000\r\n", "$1000000000\r\n", strings.Repeat("*100000\r\n", 100), "+" + strings.Repeat("x", 1<<20), "*99999999999999999999\r\n",
		"%5000000\r\n", "!500000000\r\n", "~5000000\r\n", ">5000000\r\n", "=500000000\r\n", "|5000000\r\n", "?1\r\n", "\r\n",
	} {
		url := serve(t, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			for skipCommand(in) {
				if _, err := io.WriteString(conn, reply); err != nil {
					return
				}
			}
		})
		s := open(t, &Store{Addresses: []string{url}, KeyPrefix: "oob:", Options: kv.Options{Timeout: caddy.Duration(time.Second)}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		for op, f := range operations(s) {
			if err := f(); err == nil {
				t.Errorf("%.20q: %s gave no error", reply, op)
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("%.20q: %d MiB were allocated", reply, n>>20)
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%.20q: it took %s", reply, d)
		}
	}
}

// What is read in one piece or byte by byte is followed all the same.
func TestGuardFollowsReplies(t *testing.T) {
	good := "+OK\r\n:1\r\n$-1\r\n*-1\r\n$3\r\na\r\n\r\n*2\r\n$1\r\n*\r\n*1\r\n:7\r\n-ERR *1000000000\r\n$12\r\n*1000000000\n\r\n*0\r\n%1\r\n+a\r\n*1\r\n$1\r\n%\r\n~1\r\n_\r\n=5\r\ntxt:%\r\n" +
		strings.Repeat("*100000\r\n"+strings.Repeat(":1\r\n", 100_000), 4)
	for _, size := range []int{1, 7, len(good)} {
		g := new(guard)
		for rest := []byte(good); len(rest) > 0; {
			n := min(size, len(rest))
			if err := g.follow(rest[:n]); err != nil {
				t.Fatalf("%d bytes at a time: %v, at %.40q", size, err, rest)
			}
			rest = rest[n:]
		}
		if err := g.follow([]byte("$4194305\r\n")); err == nil {
			t.Errorf("%d bytes at a time: a string that is too long was let through", size)
		}
	}
}

// FuzzGuard reads what a Redis answers. How it comes in pieces does not matter,
// and what is let through announces no more than the bounds: a reader that
// believes the lengths, as the client does, needs no more memory.
func FuzzGuard(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n:1\r\n$-1\r\n*-1\r\n$3\r\na\r\n\r\n", "*2\r\n$1\r\n*\r\n*1\r\n:7\r\n-ERR no\r\n", "%1\r\n+a\r\n*1\r\n$1\r\n%\r\n~1\r\n_\r\n=5\r\ntxt:%\r\n",
		"*3\r\n$2\r\nOK\r\n:1\r\n*1\r\n*1\r\n*0\r\n", "*1000000000\r\n", "$4194305\r\n", "|1\r\n+k\r\n+v\r\n+OK\r\n", ">2\r\n+a\r\n+b\r\n", "*262144\r\n*1\r\n", "!3\r\nERR\r\n(12345678901234567890\r\n,1e9\r\n#t\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, reply []byte, size uint8) {
		whole, pieces := new(guard), new(guard)
		err := whole.follow(reply)
		var pieceErr error
		for rest := reply; len(rest) > 0 && pieceErr == nil; {
			n := min(int(size%16)+1, len(rest))
			pieceErr = pieces.follow(rest[:n])
			rest = rest[n:]
		}
		if (err == nil) != (pieceErr == nil) {
			t.Errorf("whole: %v, %d bytes at a time: %v", err, size%16+1, pieceErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(whole.line, pieces.line) || whole.skip != pieces.skip || whole.pending != pieces.pending || whole.elements != pieces.elements {
			t.Errorf("whole: %+v, %d bytes at a time: %+v", whole, size%16+1, pieces)
		}
		rest := reply
		for len(rest) > 0 {
			left := maxElements
			if rest, err = believe(rest, &left); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// believe reads one reply as RESP defines it (Redis serialization protocol
// specification), and returns what follows; nothing, where it is not whole. left
// is how many elements arrays may still announce.
func believe(reply []byte, left *int) (rest []byte, err error) {
	line, rest, whole := bytes.Cut(reply, []byte("\n"))
	if !whole {
		return nil, nil
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	n, _ := strconv.Atoi(string(line[1:]))
	each := 1
	switch line[0] {
	default:
		return rest, nil
	case '$', '=', '!':
		if n > maxBulk {
			return nil, fmt.Errorf("a string of %d bytes is let through", n)
		}
		if n >= 0 {
			rest = rest[min(n+2, len(rest)):]
		}
		return rest, nil
	case '%', '|':
		each = 2
	case '*', '~', '>':
	}
	if *left -= max(n, 0) * each; *left < 0 {
		return nil, fmt.Errorf("%d elements more than %d are let through", -*left, maxElements)
	}
	for range max(n, 0) * each {
		if rest, err = believe(rest, left); err != nil || len(rest) == 0 {
			return nil, err
		}
	}
	return rest, nil
}

// A write that is held up on its way to Redis until nobody waits for it does
// nothing there.
func TestLateWriteIsRefused(t *testing.T) {
	hold := make(chan struct{})
	delivered := make(chan string, 1)
	late := func(request string) bool { return strings.Contains(request, "canary") }
	url := relay(t, func(request string) {
		if late(request) {
			<-hold
		}
	}, func(request, text string) bool {
		if late(request) {
			delivered <- text
		}
		return !late(request)
	})
	c := config(common(t))
	direct := open(t, c)
	fill(t, direct, []targets.Ref{{ID: "warm"}}) // the script is known
	c.Addresses = []string{url}
	s := open(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	k := recordKey(targets.Ref{ID: "late"})
	if done, err := s.redis.Swap(ctx, k, nil, []byte("canary")); done || err == nil {
		t.Fatalf("the write gave %t, error %v", done, err)
	}
	time.Sleep(50 * time.Millisecond)
	close(hold)
	if answer := <-delivered; answer != ":-1\r\n" {
		t.Errorf("Redis answered %q", answer)
	}
	if v, err := direct.redis.Get(t.Context(), k); v != nil || err != nil {
		t.Errorf("the late write did something: %v, error %v", v, err)
	}
}

// A write counts when the replicas have it, and not before.
func TestReplicas(t *testing.T) {
	master, replica := start(t), start(t)
	c := config(master)
	c.Replicas, c.ReplicasTimeout = 1, caddy.Duration(300*time.Millisecond)
	s := open(t, c)
	mustFail(t, "Update", s.Update(t.Context(), ref, kvtest.To(kvtest.Target(ref))), "replicas of redis")
	replica.do(t, "REPLICAOF", "127.0.0.1", master.port())
	eventually(t, "the replication", func() bool {
		return strings.Contains(fmt.Sprint(replica.do(t, "INFO", "replication")), "master_link_status:up")
	})
	c.ReplicasTimeout = caddy.Duration(10 * time.Second)
	s = open(t, c)
	mustBeUp(t, s)
	if n := replica.do(t, "EXISTS", s.redis.Place(recordKey(ref))); n != int64(1) {
		t.Error("the replica does not have the write")
	}
}
