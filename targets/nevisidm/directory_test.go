package nevisidm

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestDirectoryKeepsWhatItFinds(t *testing.T) {
	for _, release := range []idm.Release{idm.V8_2605, idm.V8_2511, idm.LTS21} {
		server := start(t, idm.Options{Release: release})
		server.SetTarget("u-1", phone("one"))
		source := newSource(t, server, nil)
		d := &targets.Directory{
			Store: new(kvtest.Memory), Namespace: "bank", Unsynced: new(targets.Unsynced),
			Sources: []targets.NamedSource{{Name: "nevisidm", KeySource: source}},
		}
		found, err := d.Find(of(t, "u-1"), "one")
		if err != nil {
			t.Fatal(err)
		}
		key, err := d.Key(found)
		if err != nil || key.Thumbprint() != rsaKey.Thumbprint() || found.Source != "nevisidm" || found.State() != targets.Active ||
			found.SignatureKey == nil {
			t.Errorf("release %d: found %+v, key error %v", release, found, err)
		}
		if !source.Live() {
			t.Error("nevisIDM does not repair stale records")
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
