package conf

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// ReadGuest reads a guest module of a namespace whose name the dispenser is at, with
// its arguments and its block. Its JSON has the name under inlineKey.
func ReadGuest(d *caddyfile.Dispenser, namespace, inlineKey string) (guest caddyfile.Unmarshaler, raw json.RawMessage, err error) {
	name := d.Val()
	if strings.HasSuffix(name, "{") {
		return nil, nil, fmt.Errorf("%q: write a space before the {", name)
	}
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		var known []string
		for _, m := range caddy.GetModules(namespace) {
			known = append(known, m.ID.Name())
		}
		return nil, nil, fmt.Errorf("there is no type %q of %s in this build; there are: %s", name, namespace, strings.Join(known, ", "))
	}
	guest, err = caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, nil, Located(fmt.Errorf("%s: %w", name, err))
	}
	return guest, caddyconfig.JSONModuleObject(guest, inlineKey, name, nil), nil
}
