package targets_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// secret stands in the seeds for what no error may quote.
const secret = "Zx7Q-canary"

// FuzzDecode reads records as a store gives them. What is read is written as the
// same record, in one form; an error quotes nothing.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"schema":2,"id":"one","target":"` + secret + `","source":"create","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`,
		`{"schema":2,"namespace":"bank","id":"one","username":"` + secret + `","encryption_key":{"kty":"EC"},"thumbprint":"t","key_since":"2026-01-02T03:04:05.678+02:00","modified":1767322800000,"source":"modify","created":"0001-01-01T00:00:00Z","updated":"2026-01-02T03:04:05Z"}`,
		`{"schema":3,"id":"one","blocked":"2026-01-02T03:04:05Z","fence":{"changes":[{"id":"c","since":"2026-01-02T03:04:05Z"}],"members":["target"],"shared":true},"unsure":["existence"],"expired_target":"` + secret + `","source":"","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`,
		`{"schema":1,"id":"one","target":"` + secret + `","state":"stale","settled":"expired","doubt":["name"],"marks":[{"id":"m","at":"2026-01-02T03:04:05Z","members":["target"],"shared":true}],"source":"create","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`,
		`{"schema":9,"min_schema":2,"id":"one","later":{"` + secret + `":[1e400]},"source":"create","created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}`,
		`{"schema":9,"id":"` + secret + `"}`, `{"schema":2,"id":"one","` + secret + `":1}`, `{"schema":2,"id":"one","created":"` + secret + `"}`,
		`{"schema":2,"id":"a","id":"b"}`, `{"schema":2,"key_refused":"malformed","encryption_key":{},"thumbprint":"x"}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ref targets.Ref // else a hash would keep all other inputs out
		_ = json.Unmarshal(data, &ref)
		got, err := targets.Decode(data, ref.Hash())
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the record: %v", err)
			}
			return
		}
		if _, err := targets.Decode(data, one.Hash()); err == nil && got.Ref() != one {
			t.Error("it is taken for the record of another target")
		}
		text, err := targets.Encode(got, got.Ref())
		if err != nil {
			if len(data) < targets.MaxRecord/2 {
				t.Errorf("what was read cannot be written: %v", err)
			}
			return
		}
		again, err := targets.Decode(text, got.Ref().Hash())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if same, err := targets.Encode(again, got.Ref()); err != nil || string(same) != string(text) {
			t.Errorf("%s becomes %s, %v", text, same, err)
		}
		if again.State() != got.State() || again.Address != got.Address || again.GoneAddress != got.GoneAddress || again.Thumbprint != got.Thumbprint || !again.Blocked.Equal(got.Blocked) {
			t.Errorf("%+v becomes %+v", got, again)
		}
		if len(text) > targets.MaxRecord {
			t.Errorf("a record of %d bytes is written", len(text))
		}
	})
}
