package transfer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// keys of devices, each with its thumbprint.
var keys = sync.OnceValue(func() []*encrypt.Key {
	var all []*encrypt.Key
	for range 3 {
		private, err := devicekey.GenerateKey("P-256")
		if err != nil {
			panic(err)
		}
		all = append(all, private.Public())
	}
	return all
})

var signatureKey = sync.OnceValue(func() *devicekey.SigningKey {
	key, err := devicekey.GenerateSigningKey("Ed25519")
	if err != nil {
		panic(err)
	}
	return key
})

// target returns the i-th target of a crowd.
func target(i int) *targets.Target {
	key := keys()[i%len(keys())]
	return &targets.Target{
		ID: fmt.Sprintf("target-%06d", i), Username: fmt.Sprintf("user-%d", i/2), DeviceID: fmt.Sprintf("device-%d", i),
		Name: "phone", Address: fmt.Sprintf("push-token-%d", i), Dispatcher: "fcm",
		EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint(), SignatureKey: signatureKey().JWK(),
		Source: targets.SourceCreate, Created: noon.Add(-time.Hour), Updated: noon,
	}
}

func encode(t testing.TB, record *targets.Target) string {
	t.Helper()
	data, err := targets.Encode(record, record.Ref())
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

// crowd returns the lines of n targets.
func crowd(t testing.TB, n int) string {
	t.Helper()
	var all strings.Builder
	for i := range n {
		all.WriteString(encode(t, target(i)))
	}
	return all.String()
}

// with returns a record's line with other members; nil takes one away.
func with(t testing.TB, record *targets.Target, members map[string]any) string {
	t.Helper()
	all := make(map[string]any)
	if err := json.Unmarshal([]byte(encode(t, record)), &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range members {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func newImport(s targets.Store) *transfer.Import {
	return &transfer.Import{
		Store: s, Overwrite: transfer.Newer, Jobs: 8,
		Now: func() time.Time { return noon.Add(time.Hour) },
	}
}

func mustRun(t *testing.T, im *transfer.Import, lines string) *transfer.Report {
	t.Helper()
	report, err := im.Run(t.Context(), strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// exported returns the records of a store, sorted.
func exported(t *testing.T, l transfer.Lister, namespace string) string {
	t.Helper()
	var out bytes.Buffer
	n, err := transfer.Export(t.Context(), l, namespace, &out, func(e *targets.RecordError) { t.Error(e) })
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Sorted(strings.Lines(out.String()))
	if len(lines) != n {
		t.Errorf("%d targets on %d lines", n, len(lines))
	}
	return strings.Join(lines, "")
}

func load(t *testing.T, s targets.Store, id string) *targets.Target {
	t.Helper()
	record, err := s.Load(t.Context(), targets.Ref{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func empty() *kvtest.Memory { return new(kvtest.Memory) }
