package nevis

import (
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
