package caddymodule

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// applied are values of options that are not the default ones, as JSON members. What
// is left out are names, guests, and what opens something of its own, which other
// tests see at work.
var applied = map[string]string{
	"handler base_path":           `"base_path": "/other"`,
	"handler upstream_dispatcher": `"upstream_dispatcher": "other"`,
	"handler redeem_url":          `"redeem_url": "https://fido.example.com/redeem"`,
	"handler token_lifetime":      `"token_lifetime": {"authentication": 60000000000}`,
	"handler deadline":            `"deadline": 9000000000`,
	"handler upstream_timeout":    `"upstream_timeout": 9000000000`,
	"handler max_body":            `"max_body": 2048`,
	"handler visual_code":         `"visual_code": 4`,
	"handler visual_code_picture": `"visual_code": 4, "visual_code_picture": true`,
	"handler observe":             `"observe": true`,
	"handler limits":              `"limits": [{"scope": "client", "n": 7, "window": 60000000000}]`,
	"handler limits_off":          `"limits_off": true`,
	"handler namespace":           "", "handler store": "", "handler key_sources": "", "handler key_policy": "", "handler on_expired": "", "handler on_key_change": "",
	"handler hash_key": "", "handler audit": "", "handler shapes": "", "handler dispatchers": "",

	"dispatcher address":        `"address": "{oob.user.email}"`,
	"dispatcher base_url":       `"base_url": "https://app.example.com/open"`,
	"dispatcher short_links":    `"short_links": "https://fido.example.com/oob"`,
	"dispatcher handle":         `"handle": "https://fido.example.com/oob"`,
	"dispatcher encryption":     `"encryption": "off"`,
	"dispatcher timeout":        `"timeout": 1000000000`,
	"dispatcher retries":        `"retries": 7`,
	"dispatcher operations":     `"operations": ["registration"]`,
	"dispatcher limits":         `"limits": [{"scope": "target", "n": 7, "window": 60000000000}]`,
	"dispatcher limits_off":     `"limits_off": true`,
	"dispatcher max_concurrent": `"max_concurrent": 7`,
	"dispatcher name":           "", "dispatcher dispatcher": "",
}

// Every option reaches what works with it: that is another one than without.
func TestOptionsAreApplied(t *testing.T) {
	plain := worksWith(t, "", "")
	for kind, config := range map[string]any{"handler": Handler{}, "dispatcher": Dispatcher{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(config)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			value, known := applied[kind+" "+name]
			switch {
			case !known:
				t.Errorf("no value is tried of the option %s of the %s", name, kind)
			case value == "":
			case kind == "handler" && worksWith(t, value, "") == plain, kind == "dispatcher" && worksWith(t, "", value) == plain:
				t.Errorf("the option %s of the %s changes nothing", name, kind)
			}
		}
	}
}

// worksWith lists the plain values of what a handler with a letter works with, which
// has limits of its own.
func worksWith(t *testing.T, handler, dispatcher string) string {
	t.Helper()
	folder, err := json.Marshal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, err := caddy.ProvisionContext(&caddy.Config{
		StorageRaw: fmt.Appendf(nil, `{"module": "file_system", "root": %s}`, folder),
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(root)
	defer cancel()
	join := func(members, more string) string { return strings.TrimSuffix(members+", "+more, ", ") }
	text := `{` + join(`"dispatchers": [{`+join(`"name": "d", "dispatcher": {"type": "letter", "spool": `+string(folder)+`}`, dispatcher)+`}]`, handler) + `}`
	module, err := ctx.LoadModuleByID("http.handlers.oob_dispatch", json.RawMessage(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var out strings.Builder
	list(&out, "", reflect.ValueOf(module.(*Handler).exchange.Config))
	return out.String()
}

// list writes what a value holds that can be compared.
func list(out *strings.Builder, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			list(out, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			list(out, fmt.Sprint(path, i), v.Index(i))
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if i.Value().Kind() != reflect.Pointer {
				fmt.Fprintln(out, path, v) // in the order of the keys
				return
			}
			list(out, fmt.Sprint(path, i.Key()), i.Value().Elem())
		}
	case reflect.Chan:
		fmt.Fprintln(out, path, v.Cap())
	case reflect.Pointer, reflect.Interface, reflect.Func:
	default:
		fmt.Fprintln(out, path, v)
	}
}
