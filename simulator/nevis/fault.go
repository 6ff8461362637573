package nevis

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Result answers 200 with nothing but a dispatch result, such as
// dispatcherNotFound or dispatchTargetExpired.
func Result(result nevisfido.DispatchResult) fault.Fault {
	return fault.JSON(fmt.Sprintf(`{"dispatchResult":%q}`, result))
}

// EarlyHints sends 103 before the regular answer.
func EarlyHints(w http.ResponseWriter, r *http.Request, regular http.Handler) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	regular.ServeHTTP(w, r)
}

// Members changes members of the regular answer, which has to be a JSON object.
// Values are JSON text; an empty one takes the member away.
func Members(changes map[string]string) fault.Fault {
	return fault.Edit(func(_ http.Header, body []byte) []byte {
		m := members{}
		if decode(body, &m) != nil {
			return body
		}
		for name, value := range changes {
			if m[name] = jsontext.Value(value); value == "" {
				delete(m, name)
			}
		}
		return encode(m)
	})
}

// ExtraMembers adds members that nobody knows, with numbers that do not survive
// a float64 and a spelling that does not survive re-encoding.
func ExtraMembers() fault.Fault {
	return fault.Edit(func(_ http.Header, body []byte) []byte {
		const extra = `, "x-serial" : 12345678901234567890123, "x-ratio":1.50e+02,"x-nested":{"a":[null,-0]},"x-text":"\u00e9\/"}`
		return append(bytes.TrimSuffix(body, []byte("}")), extra...)
	})
}
