package java

import (
	"bufio"
	"fmt"
	"net/http"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func TestX(t *testing.T) {
	drawn := 300
	if n, err := strconv.Atoi(os.Getenv("N")); err == nil {
		drawn = n
	}
	var rows []*row
	if os.Getenv("P") != "" {
		rows = spellings(drawn)
	}
	rows = append(append(rows, requests()...), bodies()...)
	fmt.Println(len(rows), len(requests()), len(bodies()))
	readings := run(t, rows)
	stat := map[string]int{}
	for i, r := range rows {
		want, id := "", ""
		if r.ours {
			want, id = expected(t, r)
		}
		takers := 0
		for name, of := range readings {
			got := of[i]
			if got.twice {
				t.Errorf("TWICE %s %q %q", name, r.request(), r.forwarded)
			}
			if got.Call != "" {
				takers++
			}
			switch {
			case r.forwarded == "":
			case len(got.Readings) > 0:
				request, _ := http.ReadRequest(bufio.NewReader(strings.NewReader(r.forwarded)))
				body, _ := io.ReadAll(request.Body)
				m := map[string]string{}
				if got.Call == "create" {
					d, err := nevisfido.ParseTarget(body)
					if err != nil {
						break
					}
					m = map[string]string{"username": d.Username, "deviceId": d.DeviceID, "name": d.Name, "target": d.Target, "dispatcher": d.Dispatcher}
				} else {
					d, err := nevisfido.ParseDispatchRequest(body)
					if err != nil {
						t.Errorf("UNREAD %s: %q %v", r.kind, body, err)
						break
					}
					m = map[string]string{"username": d.Username, "dispatcher": d.Dispatcher, "dispatchTargetId": d.TargetID}
					if d.Guesses == 0 { m["title"]= d.Notification.Title; m["body"]= d.Notification.Body }
				}
				for how, members := range got.Readings {
					for k, v := range m {
						if s, _ := members[k].(string); s != v {
							t.Errorf("BODY %s: %q: %s/%s reads %s=%q, not %q", r.kind, body, name, how, k, s, v)
						}
					}
				}
			case !r.ours && got.Call != "":
				t.Errorf("%s: %s %q passes, %s takes it for %s %s", r.kind, r.method, r.target, name, got.Call, got.ID)
			case r.ours && got.Call != "" && (got.Call != want || got.ID != id):
				t.Errorf("%s: %s %q is %s %s, %s takes it for %s %s", r.kind, r.method, r.target, want, id, name, got.Call, got.ID)
			}
		}
		state := "passed"
		switch {
		case r.forwarded == "":
			state = fmt.Sprintf("refused %d", r.status)
		case r.ours:
			state = "handled"
		}
		stat[fmt.Sprintf("%s, takers %v", state, takers > 0)]++
	}
	for k, v := range stat {
		fmt.Println(k, v)
	}
}
