package exchange

import (
	"mime"
	"net/http"
	"strings"
)

// isPlainJSON reports whether headers announce JSON in UTF-8 without content
// coding, in exactly one way of reading them.
func isPlainJSON(h http.Header) bool {
	return coding(h) == "" && isJSON(h)
}

func isJSON(h http.Header) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/json" { // as nearly all do
		return true
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// coding returns the content coding, "" for none.
func coding(h http.Header) string {
	value := strings.Join(h.Values("Content-Encoding"), ",")
	if strings.EqualFold(strings.TrimSpace(value), "identity") {
		return ""
	}
	return strings.TrimSpace(value)
}

// acceptIdentity asks for an answer without content coding: a coded one could not be
// read. The caller cannot have that header dropped on the way, as it could by
// naming it in Connection (RFC 9110, section 7.6.1).
func acceptIdentity(r *http.Request) *http.Request {
	r.Header.Set("Accept-Encoding", "identity")
	connection := strings.Join(r.Header.Values("Connection"), ",")
	if !strings.Contains(strings.ToLower(connection), "accept-encoding") {
		return r
	}
	var options []string
	for option := range strings.SplitSeq(connection, ",") {
		if option = strings.TrimSpace(option); !strings.EqualFold(option, "Accept-Encoding") {
			options = append(options, option)
		}
	}
	r.Header.Set("Connection", strings.Join(options, ", "))
	return r
}
