package nevisfido

import (
	"cmp"
	"slices"
	"strings"
	"testing"
)

func TestEveryGuessHasAName(t *testing.T) {
	all := slices.Collect((guessEnd - 1).Names())
	if !slices.Equal(all, GuessNames()) || guessEnd != 1<<len(all) {
		t.Errorf("%d guesses and the names %v", guessEnd, GuessNames())
	}
	if slices.Sort(all); len(slices.Compact(all)) != len(GuessNames()) {
		t.Error("two guesses have one name")
	}
}

// Whoever counts guesses learns which ones a message needed, and that the
// documented form needs none.
func TestGuessesAreTold(t *testing.T) {
	request := func(body string) (Guesses, error) {
		r, err := ParseDispatchRequest([]byte(body))
		return cmp.Or(r, new(DispatchRequest)).Guesses, err
	}
	target := func(body string) (Guesses, error) {
		d, err := ParseTarget([]byte(body))
		return cmp.Or(d, new(TargetDescription)).Guesses, err
	}
	modification := func(body string) (Guesses, error) {
		m, err := ParseModification([]byte(body))
		return cmp.Or(m, new(Modification)).Guesses, err
	}
	registration := func(context string) (Guesses, error) {
		d, err := ParseRegistration([]byte(`{"context":` + context + `}`))
		return cmp.Or(d, new(TargetDescription)).Guesses, err
	}
	registered := func(description string) (Guesses, error) {
		c, err := ParseRegistered([]byte(`{"statusCode":1200,"description":` + description + `}`))
		return c.Guesses, err
	}
	for _, tt := range []struct {
		read func(string) (Guesses, error)
		body string
		want string
	}{
		{request, `{"dispatchInformation":{"data":{"a":1}}}`, ""},
		{request, `{"dispatchInformation":` + quoted(`{"data":{"a":1}}`) + `}`, "information_text"},
		{request, `{"dispatchInformation":"pay"}`, "information_free_text"},
		{request, `{"dispatchInformation":{"data":"{\"a\":1}"}}`, "data_text"},
		{request, `{"dispatchInformation":{"data":"pay"}}`, "data_free_text"},

		{target, `{"encryptionKey":` + rsaJWK + `,"signatureKey":` + ecJWK + `}`, ""},
		{target, `{"encryptionKey":` + quoted(rsaJWK) + `}`, "key_text"},
		{target, `{"encryptionKey":"eyJrdHkiOiJSU0EifQ"}`, "key_base64"},
		{target, `{"encryptionKey":{"jwk":` + rsaJWK + `}}`, "key_place"},
		{target, `{"a":` + encJWK + `}`, "key_place key_purpose"},
		{target, `{"encKey":` + ecJWK + `}`, "key_place key_name"},
		{target, `{"a":` + rsaJWK + `}`, "key_place key_type"},
		{target, `{"a":` + rsaJWK + `,"b":` + rsaJWK2 + `}`, "key_unclear"},
		{modification, `{"dispatchTargetId":"1","target":"x"}`, ""},
		{modification, `{"keys":{"encryption":` + ecJWK + `}}`, "key_place key_name"},

		{registration, quoted(`{"dispatchTarget":{"target":"x","encryptionKey":` + ecJWK + `}}`), "target_member"},
		{registration, `{"a":{"dispatch_target":{"target":"x"}}}`, "target_elsewhere"},
		{registration, `{"a":{"target":"x","encryptionKey":` + ecJWK + `}}`, "target_shape"},

		{registered, quoted(`{"dispatchTargetId":"7"}`), "id_member"},
		{registered, quoted(`{"a":{"dispatchTargetId":"7"}}`), "id_elsewhere"},
		{registered, quoted(`{"dispatchTarget":{"id":"7"}}`), "id_target"},
		{registered, quoted(`{"id":"7"}`), "id_description"},
	} {
		guesses, err := tt.read(tt.body)
		if got := strings.Join(slices.Collect(guesses.Names()), " "); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.body, got, err, tt.want)
		}
	}
}
