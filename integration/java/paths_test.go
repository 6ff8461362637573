package java

import (
	"fmt"
	"testing"
)

func TestX(t *testing.T) {
	rows := spellings(300)
	fmt.Println(len(rows))
	readings := run(t, rows)
	stat := map[string]int{}
	for i, r := range rows {
		want, id := "", ""
		if r.ours {
			want, id = expected(t, r)
		}
		if r.kind == documented {
			for name := range readings {
				if readings[name][i].Call == "" || !r.ours {
					t.Errorf("%s %s: %s: %+v %v %d", r.method, r.target, name, readings[name][i], r.ours, r.status)
				}
			}
		}
		takers := 0
		for name, of := range readings {
			got := of[i]
			if got.Call != "" {
				takers++
			}
			switch {
			case r.forwarded == "":
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
