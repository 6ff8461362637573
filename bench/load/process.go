package main

import (
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/caddystore"
)

// hanging is how many dispatches wait for nevisFIDO at the same time; a dispatcher
// takes 256 (max_concurrent).
const hanging = 250

const hangingSuffix = "-hanging"

// hang is the header with which nevisFIDO's double does not answer.
const hang = "X-Hang: 1"

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
func listing(ctx context.Context, folder, binary string) error {
	config := filepath.Join(folder, "Caddyfile")
	took := func(command string) (float64, error) {
		cmd := exec.CommandContext(ctx, binary, "oob", "targets", command, "--config", config)
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("targets %s: %w", command, err)
		}
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
	}
	var all []float64
	for range 5 {
		export, err := took("export")
		if err != nil {
			return err
		}
		list, err := took("list")
		if err != nil {
			return err
		}
		all = append(all, list/export)
	}
	figure("targets list, × export", median(all), 1)
	return nil
}

// lookups measures finding a target in a store with so many of each kind against
// finding it in a small one.
func lookups(ctx context.Context, many, small string, each int) error {
	finder := func(folder string, each int) (func(), error) {
		root, err := caddy.ProvisionContext(&caddy.Config{StorageRaw: json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, folder))})
		if err != nil {
			return nil, err
		}
		module, _ := caddy.NewContext(root) // ends with the process
		guest, err := module.LoadModuleByID(targets.StoreNamespace+".caddy", json.RawMessage("{}"))
		if err != nil {
			return nil, err
		}
		d := &targets.Directory{Store: kv.Open(guest.(kv.Guest)), Unsynced: new(targets.Unsynced)}
		find := func() error {
			_, err := d.Find(ctx, fmt.Sprintf("%s-%d", kindRSA, mathrand.IntN(each)))
			return err
		}
		return func() { _ = find() }, find()
	}
	among, err := finder(many, each)
	if err != nil {
		return err
	}
	amongFew, err := finder(small, few/2)
	if err != nil {
		return err
	}
	figure(fmt.Sprintf("look-up among %d targets, × %d", 2*each, few), ratio(among, amongFew), 1.5)
	return nil
}
