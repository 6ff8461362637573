package java

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

var update = flag.Bool("update", false, "write the generated part of docs/java.md again")

// longVariable asks for all requests, which take minutes, and not for a part.
const longVariable = "OOB_TEST_ALL_SPELLINGS"

// part is the part of the requests that usually are sent: one of so many.
const part = 7

// TestDifferences looks for what a server reads in a request otherwise than the
// sidecar that has let it through: a call where the sidecar saw none, another
// call or id, another member of a body, or two requests in one.
func TestDifferences(t *testing.T) {
	sections := []*section{
		{name: "Paths", rows: spellings()},
		{name: "Methods, queries, targets and lengths", rows: requests()},
		{name: "Bodies", rows: bodies()},
	}
	long := os.Getenv(longVariable) != ""
	var rows []*row
	for _, s := range sections {
		if !long {
			s.rows = some(s.rows)
		}
		rows = append(rows, s.rows...)
	}
	readings := run(t, rows)
	servers := slices.Sorted(maps.Keys(readings))
	at := 0
	for _, s := range sections {
		s.counts = make(map[string]*count)
		for _, r := range s.rows {
			taken := false
			for _, name := range servers {
				got := readings[name][at]
				if r.kind == documented && (got.Call == "" || !r.ours) {
					t.Errorf("%s %s does not arrive at %s", r.method, r.target, name)
				}
				compare(t, r, name, got)
				taken = taken || got.takes()
			}
			s.count(r, taken)
			at++
		}
	}
	t.Logf("%d requests, %d servers", len(rows), len(readings))
	if !long {
		page(t, sections)
	}
}

// some keeps part of the rows.
func some(rows []*row) []*row {
	var kept []*row
	for i, r := range rows {
		if i%part == 0 || r.kind == documented {
			kept = append(kept, r)
		}
	}
	return kept
}

// takes tells whether the server serves the request: where it was asked to read
// the body, that has to be a dispatch or target to one of its readers.
func (g reading) takes() bool { return g.Call != "" && (g.Readings == nil || len(g.Readings) > 0) }

// compare checks what a server reads in a request that has passed the sidecar.
func compare(t *testing.T, r *row, server string, got reading) {
	t.Helper()
	if r.forwarded == "" || got.Call == "" {
		return
	}
	if r.method == http.MethodHead {
		return // answered without a body, in which there would be names to change
	}
	call, id, read := expected(t, r)
	if got.twice || got.Call != call || got.ID != id || !r.ours && !read {
		t.Errorf("%s: %.500q\nis %q with the id %q to the sidecar, and to %s %q with the id %q; two requests: %t",
			r.kind, r.request(), call, id, server, got.Call, got.ID, got.twice)
		return
	}
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.forwarded)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Fatal(err)
	}
	members := membersOf(got.Call, body)
	for way, its := range got.Readings {
		for name, ours := range members {
			if theirs := its[name]; !reflect.DeepEqual(ours, theirs) && (theirs != nil || ours != "") {
				t.Errorf("%s: %.500q: %s is %v to the sidecar, and %v to %s, %s", r.kind, body, name, ours, theirs, server, way)
			}
		}
	}
}

// membersOf is what the sidecar reads in a body, nil where it cannot be read: a
// dispatch is not forwarded then, and a target is not used.
func membersOf(call string, body []byte) map[string]any {
	if call == "create" {
		d, err := nevisfido.ParseTarget(body)
		if err != nil {
			return nil
		}
		members := map[string]any{"username": d.Username, "deviceId": d.DeviceID, "name": d.Name, "target": d.Target, "dispatcher": d.Dispatcher}
		if d.Guesses == 0 {
			members["encryptionKey"], members["signatureKey"] = objectOf(d.EncryptionKey), objectOf(d.SignatureKey)
		}
		return members
	}
	d, err := nevisfido.ParseDispatchRequest(body)
	if err != nil {
		return map[string]any{"body": err.Error()}
	}
	members := map[string]any{"dispatcher": d.Dispatcher, "dispatchTargetId": d.TargetID}
	if d.Doubt == nil { // or it is for nevisFIDO's own dispatcher
		members["username"] = d.Username
	}
	if d.Guesses == 0 { // dispatchInformation is an object, as documented
		members["title"], members["body"] = d.Notification.Title, d.Notification.Body
	}
	return members
}

// objectOf is "" for what is no object.
func objectOf(text []byte) any {
	var members map[string]any
	if json.Unmarshal(text, &members) != nil || members == nil {
		return ""
	}
	return members
}

// section is a table of the page.
type section struct {
	name   string
	rows   []*row
	counts map[string]*count // by kind
}

// count is what became of requests.
type count struct{ all, acted, passed, refused, harmless int }

func (s *section) count(r *row, taken bool) {
	c := s.counts[r.kind]
	if c == nil {
		c = new(count)
		s.counts[r.kind] = c
	}
	c.all++
	switch {
	case r.forwarded == "" && taken:
		c.refused++
	case r.forwarded == "":
		c.harmless++
	case r.ours:
		c.acted++
	default:
		c.passed++
	}
}

// page compares docs/java.md with what was found.
func page(t *testing.T, sections []*section) {
	t.Helper()
	var want strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&want, "\n## %s\n\n%d requests.\n\n| what is odd | requests | acted on | passed | refused, a server takes it | refused, no server takes it |\n| --- | --- | --- | --- | --- | --- |\n", s.name, len(s.rows))
		var all count
		for _, kind := range slices.Sorted(maps.Keys(s.counts)) {
			c := s.counts[kind]
			line(&want, kind, *c)
			all = count{all.all + c.all, all.acted + c.acted, all.passed + c.passed, all.refused + c.refused, all.harmless + c.harmless}
		}
		line(&want, "**all**", all)
	}
	testservice.WantGenerated(t, "../../docs/java.md", "go test ./integration/java -update", want.String(), *update)
}

func line(b *strings.Builder, kind string, c count) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d |\n", kind, c.all, c.acted, c.passed, c.refused, c.harmless)
}
