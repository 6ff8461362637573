package caddystore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// crashFolder names, to a child process, the folder to work on until it is killed.
const crashFolder = "OOB_TEST_CRASH_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(crashFolder); folder != "" {
		fmt.Fprintln(os.Stderr, workUntilKilled(folder))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func directory(folder string) *targets.Directory {
	return &targets.Directory{Store: newStore(&certmagic.FileStorage{Path: folder}), Unsynced: new(targets.Unsynced)}
}

// workUntilKilled creates a target and modifies it. It prints the new name at
// the moment when nevisFIDO would apply it, and again when it is recorded.
func workUntilKilled(folder string) error {
	d := directory(folder)
	ctx := context.Background()
	key, err := devicekey.GenerateSigningKey("Ed25519")
	if err != nil {
		return err
	}
	desc := &nevisfido.TargetDescription{Name: "0", DeviceID: "device-1", SignatureKey: key.JWK()}
	if err := d.Learn(ctx, desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate); err != nil {
		return err
	}
	for i := range 1_000_000 {
		name := fmt.Sprint(i)
		payload, err := json.Marshal(map[string]any{"name": name, "creationTimeInEpochMillis": time.Now().UnixMilli()})
		if err != nil {
			return err
		}
		jws, err := key.Sign(payload)
		if err != nil {
			return err
		}
		p, err := d.BeginModify(ctx, "one", []byte(jws))
		if err != nil {
			return err
		}
		fmt.Println(name)
		if err := p.Finish(ctx, 204); err != nil {
			return err
		}
		fmt.Println(name)
	}
	return nil
}

// A process that is killed at any moment leaves a record that is right or
// stale, and a device that lists it.
func TestKill(t *testing.T) {
	rights, stales := 0, 0
	for round := range 12 {
		folder := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), crashFolder+"="+folder)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		applied := ""
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			applied = lines.Text()
			if n == round*3 { // even: applied, odd: recorded
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait() // killed, as we know
		d := directory(folder)
		record, err := d.Find(t.Context(), "one")
		switch {
		case err != nil:
			t.Fatalf("round %d: %v", round, err)
		case record.State() == targets.Stale:
			stales++
		case record.Name == applied:
			rights++
		default:
			t.Errorf("round %d: the record is %+v, nevisFIDO has name %q", round, record, applied)
		}
		ids, err := d.Store.OfDevice(t.Context(), "", "device-1", "")
		if err != nil || strings.Join(ids, " ") != "one" {
			t.Errorf("round %d: the device lists %q, error %v", round, ids, err)
		}
	}
	t.Logf("%d records were right, %d stale", rights, stales)
}
