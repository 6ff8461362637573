package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hanging is how many dispatches wait for nevisFIDO at the same time; a dispatcher
// takes 256 (max_concurrent).
const hanging = 250

const hangingSuffix = "-hanging"

// hang is the header with which nevisFIDO's double does not answer.
const hang = "X-Hang: 1"

// memory measures what a dispatch takes that hangs at nevisFIDO, above a request
// through bare Caddy that does. Its servers have done nothing before, so that
// none has memory left over.
func memory(start func(name, config string) (*server, error), w *work) error {
	grown := map[string]float64{}
	for name, config := range map[string]string{bareA: bareConfig, product: productConfig} {
		s, err := start(name+hangingSuffix, config)
		if err != nil {
			return err
		}
		if grown[name], err = s.whileHanging(w); err != nil {
			return err
		}
	}
	row("memory of a hanging dispatch above a bare one, KiB", (grown[product]-grown[bareA])/1024, 64)
	return nil
}

// whileHanging is how many bytes a server grows by for each request that hangs.
func (s *server) whileHanging(w *work) (float64, error) {
	before := s.resident()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range hanging {
		conn, err := net.DialTimeout("tcp", s.address, 5*time.Second)
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
		if _, err := conn.Write([]byte(strings.Replace(string(w.make()), "\r\n", "\r\n"+hang+"\r\n", 1))); err != nil {
			return 0, err
		}
	}
	time.Sleep(3 * time.Second)
	return float64(s.resident()-before) / hanging, nil
}

// resident is the memory of a server in bytes.
func (s *server) resident() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// listing measures "targets list" of the whole store against "export".
func listing(ctx context.Context, folder, binary string) {
	config := filepath.Join(folder, "Caddyfile")
	took := func(command string) float64 {
		cmd := exec.CommandContext(ctx, binary, "oob", "targets", command, "--config", config)
		if err := cmd.Run(); err != nil {
			log.Printf("load: targets %s: %v", command, err)
		}
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	var all []float64
	for range 5 {
		export := took("export")
		all = append(all, took("list")/export)
	}
	row("targets list, × export", median(all), 1)
}
