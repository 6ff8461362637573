package nevisidm

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func newDirectory(t *testing.T, server *idm.Server) (*targets.Directory, *[]targets.Event) {
	t.Helper()
	var events []targets.Event
	return &targets.Directory{
		Store: new(kvtest.Memory), Namespace: "bank",
		Sources: []targets.NamedSource{{Name: "nevisidm", KeySource: newSource(t, server, nil)}},
		Events:  func(e targets.Event) { events = append(events, e) },
	}, &events
}

func TestDirectoryKeepsWhatItFinds(t *testing.T) {
	for _, release := range []idm.Release{idm.V8_2605, idm.V8_2511, idm.LTS21} {
		server := start(t, idm.Options{Release: release})
		server.SetTarget("u-1", phone("one"))
		d, _ := newDirectory(t, server)
		found, err := d.Find(of(t, "u-1"), "one")
		if err != nil {
			t.Fatal(err)
		}
		key, err := d.Key(found)
		if err != nil || key.Thumbprint() != rsaKey.Thumbprint() || found.Source != "nevisidm" || found.State() != targets.Active ||
			found.SignatureKey == nil {
			t.Errorf("release %d: found %+v, key error %v", release, found, err)
		}
		asked := len(server.Requests())
		if _, err := d.Find(t.Context(), "one"); err != nil { // from the store, whoever asks
			t.Error(err)
		}
		if n := len(server.Requests()); n != asked {
			t.Error("nevisIDM was asked for a target that is in the store")
		}
	}
}

func TestDirectoryReportsRefusedKeys(t *testing.T) {
	for name, test := range map[string]struct{ key, reason string }{
		"weak":    {`{"kty":"RSA","n":"AQAB","e":"AQAB"}`, "rsa_size"},
		"private": {`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`, "private_members"},
		"no JWK":  {"-----BEGIN PUBLIC KEY-----", "malformed"},
	} {
		server := start(t, idm.Options{})
		target := phone("one")
		target.EncryptionKey = test.key
		server.SetTarget("u-1", target)
		d, events := newDirectory(t, server)
		found, err := d.Find(of(t, "u-1"), "one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Key(found); !errors.Is(err, targets.ErrNoKey) {
			t.Errorf("%s: the key gave %v, want ErrNoKey", name, err)
		}
		if !slices.ContainsFunc(*events, func(e targets.Event) bool {
			return e.Name == targets.EventKeyRefused && e.Source == "nevisidm" && e.Reason == test.reason
		}) {
			t.Errorf("%s: events are %+v", name, *events)
		}
	}
}

func TestDirectoryTellsTroubleFromNothing(t *testing.T) {
	server := start(t, idm.Options{})
	d, _ := newDirectory(t, server)
	if _, err := d.Find(of(t, "u-1"), "one"); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	server.Script(fault.Answer(http.StatusServiceUnavailable, nil, ""))
	if _, err := d.Find(of(t, "u-1"), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("got error %v, want ErrUnavailable", err)
	}
	if _, err := d.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("without a user: got error %v, want ErrUnavailable", err)
	}
	server.SetTarget("u-1", phone("one")) // neither was remembered
	if _, err := d.Find(of(t, "u-1"), "one"); err != nil {
		t.Error(err)
	}
}

// A live source repairs a record that the device service may have made stale.
func TestDirectoryRepairsStaleRecords(t *testing.T) {
	server := start(t, idm.Options{})
	d, _ := newDirectory(t, server)
	signer, err := devicekey.GenerateSigningKey("P-256")
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign([]byte(`{"dispatchTargetId":"one"}`))
	if err != nil {
		t.Fatal(err)
	}
	desc := &nevisfido.TargetDescription{DeviceID: "device-1", EncryptionKey: ecKey.JWK(), SignatureKey: signer.JWK()}
	if err := d.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	change, err := d.BeginDevice(t.Context(), targets.DeviceCall{Device: "device-1", Signature: signature})
	if err != nil {
		t.Fatal(err)
	}
	if err := change.Finish(t.Context(), http.StatusNoContent); err != nil {
		t.Fatal(err)
	}
	server.SetTarget("u-1", phone("one"))
	found, err := d.Find(of(t, "u-1"), "one")
	if err != nil || found.State() != targets.Active || found.Thumbprint != rsaKey.Thumbprint() {
		t.Errorf("found %+v, error %v", found, err)
	}
}
