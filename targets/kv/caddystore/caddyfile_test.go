package caddystore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/internal/conf/conftest"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestOptions(t *testing.T) { kvtest.Options(t, "store caddy") }

func TestCaddyfile(t *testing.T) {
	conftest.WantJSON(t, targets.StoreNamespace, map[string]string{
		"store caddy":      `{}`,
		"store caddy {\n}": `{}`,
		"store caddy {\nstorage file_system /var/lib/oob\n}":                           `{"storage":{"module":"file_system","root":"/var/lib/oob"}}`,
		"store caddy {\nstorage file_system {\nroot /var/lib/oob\n}\ntimeout 500ms\n}": `{"storage":{"module":"file_system","root":"/var/lib/oob"},"timeout":500000000}`,
	})
}

func TestCaddyfileRefuses(t *testing.T) {
	for _, input := range []string{
		"store caddy redis",
		"store caddy {\npath /tmp\n}",
		"store caddy {\nstorage\n}",
		"store caddy {\nstorage nowhere\n}",
		"store caddy {\nstorage file_system /a /b\n}",
		"store caddy {\nstorage file_system /a\nstorage file_system /b\n}",
	} {
		if _, err := conftest.Unmarshal(targets.StoreNamespace, input); err == nil || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q gave error %v, want one with a line number", input, err)
		}
	}
}

// provision loads a store as a configuration does that keeps Caddy's own storage in
// a folder.
func provision(t *testing.T, folder, store string) (*kv.Store, error) {
	t.Helper()
	root, err := caddy.ProvisionContext(&caddy.Config{StorageRaw: json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, folder))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(root)
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID(targets.StoreNamespace+".caddy", json.RawMessage(store))
	if err != nil {
		return nil, err
	}
	return kv.Open(module.(kv.Guest)), nil
}

func TestProvision(t *testing.T) {
	for name, test := range map[string]struct {
		store string
		used  string // the folder that the store is to use
	}{
		"Caddy's storage": {`{}`, "caddy"},
		"own storage":     {`{"storage":{"module":"file_system","root":"%/own"}}`, "own"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := provision(t, filepath.Join(dir, "caddy"), strings.ReplaceAll(test.store, "%", filepath.ToSlash(dir)))
			if err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{"caddy", "own"} {
				if _, err := os.Stat(filepath.Join(dir, folder, "oob")); !os.IsNotExist(err) {
					t.Errorf("provisioning touched the storage in folder %s: %v", folder, err)
				}
			}
			ref := putOne(t, s)
			if _, err := os.Stat(filepath.Join(dir, test.used, filepath.FromSlash(place(ref)))); err != nil {
				t.Errorf("the record is not where it should be: %v", err)
			}
		})
	}
}

func TestSealIsProvisioned(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{1}, kv.KeySize), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := provision(t, dir, fmt.Sprintf(`{"seal":[%q]}`, key))
	if err != nil {
		t.Fatal(err)
	}
	ref := putOne(t, s)
	storage := &certmagic.FileStorage{Path: dir}
	if _, err := kv.New(newBackend(storage), kvtest.Ring(t, 1), kv.DefaultTimeout).Load(t.Context(), ref); err != nil {
		t.Errorf("the record is not sealed with the key of the file: %v", err)
	}
}

// Stores with the same records have the same location, and no others: a storage
// that does not tell where it is goes by its options.
func TestLocation(t *testing.T) {
	caddy.RegisterModule(new(nameless))
	seen := make(map[string]string)
	for _, storage := range []string{
		``,
		`"storage":{"module":"file_system","root":"/nowhere/one"},`,
		`"storage":{"module":"file_system","root":"/nowhere/two"},`,
		`"storage":{"module":"nameless","bucket":"one"},`,
		`"storage":{"module":"nameless","bucket":"two"},`,
	} {
		for _, timeout := range []string{"1s", "2s"} {
			s, err := provision(t, "/nowhere", fmt.Sprintf(`{%s"timeout":%q}`, storage, timeout))
			if err != nil {
				t.Fatal(err)
			}
			where := s.Location()
			if other, ok := seen[where]; ok && other != storage {
				t.Errorf("%s and %s are both at %q", storage, other, where)
			}
			seen[where] = storage
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
		"unknown field":   `{"path":"/tmp"}`,
		"unknown storage": `{"storage":{"module":"nowhere"}}`,
	} {
		if _, err := provision(t, t.TempDir(), store); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
