package caddystore

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func parse(input string) (*Store, error) {
	d := caddyfile.NewTestDispenser(input)
	d.Next() // store
	d.NextArg()
	module, err := caddyfile.UnmarshalModule(d, targets.StoreNamespace+"."+d.Val())
	if err != nil {
		return nil, err
	}
	return module.(*Store), nil
}

func TestCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"store caddy":                  `{}`,
		"store caddy {\n}":             `{}`,
		"store caddy {\ntimeout 5s\n}": `{"timeout":5000000000}`,
		"store caddy {\nstorage file_system /var/lib/oob\n}":                           `{"storage":{"module":"file_system","root":"/var/lib/oob"}}`,
		"store caddy {\nstorage file_system {\nroot /var/lib/oob\n}\ntimeout 500ms\n}": `{"storage":{"module":"file_system","root":"/var/lib/oob"},"timeout":500000000}`,
		"store caddy {\nseal /a {file./b}\naccept_unsealed\n}":                         `{"seal":["/a","{file./b}"],"accept_unsealed":true}`,
	} {
		s, err := parse(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		got, err := json.Marshal(s)
		if err != nil || string(got) != want {
			t.Errorf("%q gave %s, error %v, want %s", input, got, err, want)
		}
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	for _, input := range []string{
		"store caddy redis",
		"store caddy {\npath /tmp\n}",
		"store caddy {\nstorage\n}",
		"store caddy {\nstorage nowhere\n}",
		"store caddy {\nstorage file_system /a /b\n}",
		"store caddy {\nstorage file_system /a\nstorage file_system /b\n}",
		"store caddy {\ntimeout 0s\n}",
		"store caddy {\nseal /a\nseal /b\n}",
		"store caddy {\naccept_unsealed\n}",
	} {
		if _, err := parse(input); err == nil || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q gave error %v, want one with a line number", input, err)
		}
	}
}

// host stands for the handler: it has a store as guest.
type host struct {
	StoreRaw json.RawMessage `json:"store" caddy:"namespace=oob.stores inline_key=type"`
}

var provisioned *kv.Store

func (host) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "oob_store_test", New: func() caddy.Module { return new(host) }}
}

func (h *host) Provision(ctx caddy.Context) error {
	module, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return err
	}
	provisioned = kv.Open(module.(kv.Guest))
	return nil
}

func (*host) Start() error { return nil }
func (*host) Stop() error  { return nil }

func init() { caddy.RegisterModule(new(host)) }

func TestProvision(t *testing.T) {
	for name, test := range map[string]struct {
		store string
		used  string // the folder that the store is to use
	}{
		"Caddy's storage": {`{"type":"caddy"}`, "caddy"},
		"own storage":     {`{"type":"caddy","storage":{"module":"file_system","root":"%/own"}}`, "own"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := caddy.Validate(&caddy.Config{
				StorageRaw: mustJSON(t, map[string]string{"module": "file_system", "root": filepath.Join(dir, "caddy")}),
				AppsRaw: caddy.ModuleMap{
					"oob_store_test": json.RawMessage(`{"store":` + strings.ReplaceAll(test.store, "%", filepath.ToSlash(dir)) + `}`),
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{"caddy", "own"} {
				if _, err := os.Stat(filepath.Join(dir, folder, "oob")); !os.IsNotExist(err) {
					t.Errorf("provisioning touched the storage in folder %s: %v", folder, err)
				}
			}
			ref := targets.Ref{ID: "one"}
			if err := provisioned.Update(t.Context(), ref, to(kvtest.Target(ref))); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, test.used, filepath.FromSlash(place(ref)))); err != nil {
				t.Errorf("the record is not where it should be: %v", err)
			}
		})
	}
}

// Stores with the same records have the same location, and no others: a storage
// that does not tell where it is goes by its options.
func TestLocation(t *testing.T) {
	caddy.RegisterModule(new(nameless))
	seen := make(map[string]string)
	for _, store := range []string{
		`{"type":"caddy"}`,
		`{"type":"caddy","storage":{"module":"file_system","root":"/nowhere/one"}}`,
		`{"type":"caddy","storage":{"module":"file_system","root":"/nowhere/two"}}`,
		`{"type":"caddy","storage":{"module":"nameless","bucket":"one"}}`,
		`{"type":"caddy","storage":{"module":"nameless","bucket":"two"}}`,
	} {
		for _, timeout := range []string{"1s", "2s"} {
			text := strings.TrimSuffix(store, "}") + `,"timeout":"` + timeout + `"}`
			err := caddy.Validate(&caddy.Config{AppsRaw: caddy.ModuleMap{"oob_store_test": json.RawMessage(`{"store":` + text + `}`)}})
			if err != nil {
				t.Fatal(err)
			}
			where := provisioned.Location()
			if other, ok := seen[where]; ok && other != store {
				t.Errorf("%s and %s are both at %q", store, other, where)
			}
			seen[where] = store
		}
	}
	if len(seen) != 5 {
		t.Errorf("five storages have the locations %q", seen)
	}
}

// nameless is a storage that does not tell where it is.
type nameless struct {
	certmagic.Storage `json:"-"`
	Bucket            string `json:"bucket"`
}

func (*nameless) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.nameless", New: func() caddy.Module { return new(nameless) }}
}

func (n *nameless) CertMagicStorage() (certmagic.Storage, error) { return n, nil }

func TestProvisionRefuses(t *testing.T) {
	for name, store := range map[string]string{
		"negative timeout": `{"type":"caddy","timeout":-1}`,
		"unknown field":    `{"type":"caddy","path":"/tmp"}`,
		"unknown storage":  `{"type":"caddy","storage":{"module":"nowhere"}}`,
		"missing key":      `{"type":"caddy","seal":["/nowhere/key"]}`,
		"no key":           `{"type":"caddy","accept_unsealed":true}`,
	} {
		err := caddy.Validate(&caddy.Config{
			StorageRaw: mustJSON(t, map[string]string{"module": "file_system", "root": t.TempDir()}),
			AppsRaw:    caddy.ModuleMap{"oob_store_test": json.RawMessage(`{"store":` + store + `}`)},
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func mustJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
