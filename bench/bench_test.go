// Package bench measures the sidecar against what it stands in front of. All
// figures of one run are ratios: compare the sub-benchmarks with each other.
//
//	go test -run '^$' -bench . ./bench ./encrypt ./qr
package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

const caddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 1ns
	storage file_system %[1]q
	log {
		level ERROR
	}
}
http://%[2]s {
	reverse_proxy %[4]s {
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
http://%[3]s {
	oob_dispatch {
		limit off
		dispatcher app-link link {
			base_url https://app.example.com/open
		}
		dispatcher app-qr qr_code {
			base_url https://app.example.com/open
		}
	}
	reverse_proxy %[4]s {
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
`

// BenchmarkExchange compares one dispatch exchange through the module with the
// same exchange through the same Caddy with nothing but reverse_proxy.
func BenchmarkExchange(b *testing.B) {
	upstream, err := nevis.Start(nevis.Options{Mode: nevis.LTS21})
	if err != nil {
		b.Fatal(err)
	}
	defer upstream.Close()
	bare, module := testservice.FreeAddress(b), testservice.FreeAddress(b)
	start(b, fmt.Sprintf(caddyfile, b.TempDir(), bare, module, upstream.Addr()))
	defer func() {
		if err := caddy.Stop(); err != nil {
			b.Error(err)
		}
	}()
	for _, kind := range []string{device.NoKey, "P-256", "RSA-2048", "RSA-4096"} {
		phone, err := device.New(device.Options{KeyKind: kind})
		if err != nil {
			b.Fatal(err)
		}
		if err := phone.Register(b.Context(), "http://"+module+"/nevisfido", device.Registration{}); err != nil {
			b.Fatal(err)
		}
		if kind == device.NoKey {
			b.Run("reverse_proxy", func(b *testing.B) { exchange(b, bare, "link", phone.TargetID()) })
			b.Run("module/clear", func(b *testing.B) { exchange(b, module, "app-link", phone.TargetID()) })
			b.Run("module/not ours", func(b *testing.B) { exchange(b, module, "link", phone.TargetID()) })
			continue
		}
		b.Run("module/link "+kind, func(b *testing.B) { exchange(b, module, "app-link", phone.TargetID()) })
		b.Run("module/qr "+kind, func(b *testing.B) { exchange(b, module, "app-qr", phone.TargetID()) })
	}
}

func exchange(b *testing.B, address, dispatcher, target string) {
	b.Helper()
	body := fmt.Sprintf(`{"dispatcher":%q,"dispatchTargetId":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`, dispatcher, target)
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for b.Loop() {
		response, err := client.Post("http://"+address+"/nevisfido/token/dispatch/authentication", "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Contains(answer, []byte(`"dispatched"`)) {
			b.Fatalf("status %d, %v", response.StatusCode, err)
		}
	}
}

func start(b *testing.B, text string) {
	b.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
}
