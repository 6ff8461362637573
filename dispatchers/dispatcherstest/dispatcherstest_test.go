package dispatcherstest

import (
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/link"
)

func TestMessage(t *testing.T) {
	m := Message("somewhere", map[string]string{"oob.name": "phone"})
	if got := m.Expand("{oob.name},{oob.link}", nil); got != "phone," {
		t.Errorf("expanded to %q", got)
	}
	content := string(m.Envelope.JSON())
	if m.Address != "somewhere" || !strings.Contains(content, Sealed) || strings.Contains(content, Token) {
		t.Errorf("address %q, content %s", m.Address, content)
	}
}

func TestLoad(t *testing.T) {
	d, err := Load[*link.Link](t, "link", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dispatch(t.Context(), Message("", nil)) // which has no link
	if e := WantFailure(t, err, dispatchers.Broken, "base_url"); e.Err == nil {
		t.Error("there is no cause")
	}
	m := Message("", nil)
	m.Link = "https://app.example.com"
	if r, err := d.Dispatch(t.Context(), m); err != nil || r.Response != m.Link {
		t.Errorf("got %v, %v", r, err)
	}
	for name, options := range map[string]map[string]any{"link": {"nothing": true}, "none": nil} {
		if _, err := Load[*link.Link](t, name, options); err == nil {
			t.Errorf("%s %v was loaded", name, options)
		}
	}
}
