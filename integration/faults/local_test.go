package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Faults that do not strike a connection to a party: those of the file storage,
// and what a caller does to the sidecar.

// needsMount tells whether the storage is a file system of its own.
func (b *bench) needsMount() bool { return b.fault == diskFull || b.fault == readOnly }

// prepare mounts the storage, before the sidecar knows it.
func (b *bench) prepare() {
	if !b.needsMount() || os.Geteuid() != 0 {
		return
	}
	folder := b.path("targets")
	b.must(os.Mkdir(folder, 0o700))
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		b.t.Fatalf("mounting a tmpfs: %v", err)
	}
	b.t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			b.t.Error(err)
		}
	})
}

// storageFaults break the storage, and return what mends it.
var storageFaults = map[string]func(*bench) (mend func()){
	// A file is where the folder was.
	refused: func(b *bench) func() {
		back := b.move("targets")
		b.write("targets", nil)
		return func() {
			b.must(os.Remove(b.path("targets")))
			back()
		}
	},
	// The volume is not mounted.
	vanished: func(b *bench) func() { return b.move("targets") },
	// Who opens the record waits.
	hangs: func(b *bench) func() {
		record := b.record()
		back := b.move(record)
		b.must(syscall.Mkfifo(b.path(record), 0o600))
		return func() {
			// Whoever waits is let go, with an empty record.
			if f, err := os.OpenFile(b.path(record), os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				_ = f.Close()
			}
			b.must(os.Remove(b.path(record)))
			back()
		}
	},
	truncated: func(b *bench) func() {
		record := b.record()
		content, err := os.ReadFile(b.path(record))
		b.must(err)
		b.must(os.WriteFile(b.path(record), content[:len(content)/2], 0o600))
		return func() { b.must(os.WriteFile(b.path(record), content, 0o600)) }
	},
	diskFull: func(b *bench) func() {
		fill, err := os.Create(b.path("targets/fill"))
		b.must(err)
		defer fill.Close()
		for err == nil {
			_, err = fill.Write(make([]byte, 512))
		}
		return func() { b.must(os.Remove(b.path("targets/fill"))) }
	},
	readOnly: func(b *bench) func() {
		remount := func(flags uintptr) {
			b.must(syscall.Mount("", b.path("targets"), "", syscall.MS_REMOUNT|flags, ""))
		}
		remount(syscall.MS_RDONLY)
		return func() { remount(0) }
	},
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// move puts a file aside until the function that it returns is called.
func (b *bench) move(name string) (back func()) {
	b.t.Helper()
	away := b.path("away")
	b.must(os.Rename(b.path(name), away))
	return func() { b.must(os.Rename(away, b.path(name))) }
}

// record is the file of the phone's target.
func (b *bench) record() (name string) {
	b.t.Helper()
	err := filepath.WalkDir(b.path("targets"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/targets/oob/") {
			content, _ := os.ReadFile(path)
			if bytes.Contains(content, []byte(b.phone.TargetID())) {
				name, err = filepath.Rel(b.dir, path)
			}
		}
		return err
	})
	b.must(err)
	if name == "" {
		b.t.Fatal("the target is not stored")
	}
	return name
}

// calls are dispatches by a caller that fails. They return what it gets.
var calls = map[string]func(*bench) string{
	resets: func(b *bench) string {
		return b.whileNevisFIDOThinks(func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		})
	},
	halfClosed: func(b *bench) string { return b.whileNevisFIDOThinks(func(c *net.TCPConn) { _ = c.CloseWrite() }) },
	drips: func(b *bench) string {
		return b.call(len(b.request()), func(c *net.TCPConn) {
			for _, letter := range []byte(b.request()) {
				if _, err := c.Write([]byte{letter}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	},
	hangs: func(b *bench) string { return b.call(len(b.request()), func(*net.TCPConn) {}) },
	truncated: func(b *bench) string {
		return b.call(len(b.request()), func(c *net.TCPConn) {
			_, _ = io.WriteString(c, b.request()[:100])
			_ = c.CloseWrite()
		})
	},
	lying: func(b *bench) string {
		return b.call(len(b.request())-10, func(c *net.TCPConn) { _, _ = io.WriteString(c, b.request()) })
	},
	endless: func(b *bench) string {
		return b.call(1<<40, func(c *net.TCPConn) {
			for _, err := io.WriteString(c, `{"dispatcher":"out"`); err == nil; {
				_, err = io.WriteString(c, strings.Repeat(" ", 16<<10))
			}
		})
	},
}

// call makes a request with a declared length, and has the caller write the body.
func (b *bench) call(length int, write func(*net.TCPConn)) (got string) {
	c, err := net.Dial("tcp", b.sidecar)
	b.must(err)
	defer c.Close()
	b.must(c.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(c, "POST /nevisfido/token/dispatch/authentication HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", b.host, length)
	b.must(err)
	written := make(chan struct{})
	go func() {
		defer close(written)
		write(c.(*net.TCPConn))
	}()
	response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodPost})
	if err != nil {
		got = noAnswer
	} else {
		got = b.read(response)
	}
	_ = c.Close()
	<-written
	return got
}

// whileNevisFIDOThinks has the caller go after a whole request.
func (b *bench) whileNevisFIDOThinks(leave func(*net.TCPConn)) string {
	asked, left := make(chan struct{}), make(chan struct{})
	b.nevis.Script(fault.Fault(func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		close(asked)
		<-left
		<-r.Context().Done() // the sidecar gives up
		regular.ServeHTTP(w, r)
	}))
	return b.call(len(b.request()), func(c *net.TCPConn) {
		_, _ = io.WriteString(c, b.request())
		select {
		case <-asked:
		case <-time.After(patience):
		}
		leave(c)
		close(left)
	})
}

// starve takes all descriptors of the cell's sidecar, by connections that say
// nothing, and returns what gives them back.
func (b *bench) starve() (feed func()) {
	b.t.Helper()
	if b.external != nil { // the sidecar has written no audit line yet, nor asked its store
		mine, phone := b.external, b.phone
		b.external = nil
		b.register()
		b.external, b.phone = mine, phone
	}
	// One connection stays, to be used meanwhile, and one of the proxy.
	response, err := b.client.Post(b.url()+"/status", "application/json", strings.NewReader(`{"sessionId":"x"}`))
	b.must(err)
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if b.party != nil {
		b.party.set(trouble{}) // no connection to it is left
	}
	var idle []net.Conn
	for range descriptors {
		c, err := net.Dial("tcp", b.sidecar)
		b.must(err)
		idle = append(idle, c)
	}
	for full := 0; full < 5; { // and none is being given back
		waitFor(b.t, "the use of all descriptors", func() bool {
			if full++; b.openDescriptors() < descriptors {
				full = 0
			}
			return full > 0
		})
	}
	return func() {
		for _, c := range idle {
			_ = c.Close()
		}
		waitFor(b.t, "the end of the idle connections", func() bool { return b.openDescriptors() < descriptors/2 })
	}
}

// newCaller makes a call over a connection of its own, and gives up when nobody
// asks for its body: a whole request might be read later.
func (b *bench) newCaller() string {
	c, err := net.Dial("tcp", b.sidecar)
	if err != nil {
		return noAnswer
	}
	defer c.Close()
	b.must(c.SetDeadline(time.Now().Add(time.Second)))
	_, err = fmt.Fprintf(c, "POST /nevisfido/token/dispatch/authentication HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", b.host, len(b.request()))
	b.must(err)
	response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodPost})
	if err != nil {
		return noAnswer
	}
	return b.read(response)
}
