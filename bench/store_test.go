// Package bench measures stores of many targets. What a dispatch costs is measured
// by bench/load; see docs/performance.md.
package bench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/caddystore"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/redisstore"
)

// held is how many targets a store holds while it is measured:
//
//	go test -run '^$' -bench Store -timeout 1h ./bench -targets 1000000
var held = flag.Int("targets", 1000, "targets in the store")

// BenchmarkStore measures finding and replacing one target among many.
func BenchmarkStore(b *testing.B) {
	for module, prepare := range map[string]func(*testing.B) (options string, size func() int64){
		"caddy": prepareFiles, "redis": startRedis,
	} {
		b.Run(module, func(b *testing.B) {
			options, size := prepare(b)
			d := &targets.Directory{Store: openStore(b, module, options), Unsynced: new(targets.Unsynced)}
			fill(b, d)
			b.Run("find", func(b *testing.B) {
				for b.Loop() {
					if _, err := d.Find(b.Context(), id(rand.IntN(*held))); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size())/float64(*held), "bytes/target")
			})
			b.Run("learn", func(b *testing.B) {
				for b.Loop() {
					learn(b, d, rand.IntN(*held))
				}
			})
		})
	}
}

func id(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

var deviceKeys = sync.OnceValue(func() []byte {
	key, err := devicekey.GenerateKey("RSA-2048")
	if err != nil {
		panic(err)
	}
	return key.Public().JWK()
})

func learn(b *testing.B, d *targets.Directory, i int) {
	description := &nevisfido.TargetDescription{
		Username: "user-" + strconv.Itoa(i), DeviceID: "device-" + strconv.Itoa(i), Name: "phone", Dispatcher: "push",
		Target:        fmt.Sprintf("%0152d", i), // as long as a registration token
		EncryptionKey: deviceKeys(),
	}
	if err := d.Learn(b.Context(), description, nevisfido.CreatedTarget{ID: id(i)}, targets.SourceCreate); err != nil {
		b.Error(err)
	}
}

// fill learns the targets, sixteen at a time.
func fill(b *testing.B, d *targets.Directory) {
	b.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	const writers = 16
	for w := range writers {
		wg.Go(func() {
			for i := w; i < *held; i += writers {
				learn(b, d, i)
			}
		})
	}
	wg.Wait()
	b.Logf("filled with %d targets in %s", *held, time.Since(start).Round(time.Millisecond))
}

// openStore provisions a store as a configuration does.
func openStore(b *testing.B, module, options string) targets.Store {
	b.Helper()
	root, err := caddy.ProvisionContext(&caddy.Config{StorageRaw: json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, b.TempDir()))})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(root)
	b.Cleanup(cancel)
	guest, err := ctx.LoadModuleByID(targets.StoreNamespace+"."+module, json.RawMessage(options))
	if err != nil {
		b.Fatal(err)
	}
	return kv.Open(guest.(kv.Guest))
}

func prepareFiles(b *testing.B) (string, func() int64) {
	dir := b.TempDir()
	size := func() int64 {
		var n int64
		err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				n += (info.Size() + 4095) / 4096 * 4096 // what the disk gives
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return fmt.Sprintf(`{"storage":{"module":"file_system","root":%q}}`, dir), size
}

// startRedis starts a server of its own.
func startRedis(b *testing.B) (string, func() int64) {
	dir := b.TempDir()
	socket := filepath.Join(dir, "socket")
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, testservice.Need(b, "redis-server"), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cancel(); _ = server.Wait() })
	testservice.Until(b, func() bool {
		_, err := os.Stat(socket)
		return err == nil
	}, func() string { return "" })
	size := func() int64 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", server.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		var total, resident int64
		if _, err := fmt.Sscan(string(status), &total, &resident); err != nil {
			b.Fatal(err)
		}
		return resident * int64(os.Getpagesize())
	}
	return fmt.Sprintf(`{"addresses":["unix://%s"]}`, socket), size
}
