package nevis

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

const (
	mediaJSON = "application/json"
	mediaUAF  = "application/fido+uaf"
	mediaJOSE = "application/jose"
)

// service is one of nevisFIDO's HTTP services. Empty media types stand for a
// request or an answer without a body.
type service struct {
	consumes, produces string
	protected          bool // for relying parties: asks for Options.Authorization
	notLTS21           bool
	serve              func(r *http.Request, body []byte) (status int, answer any)
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, v := range map[string]service{
		"POST /token/dispatch/{operation}": {mediaJSON, mediaJSON, true, false, s.dispatch},
		"POST /token/dispatch/targets":     {mediaJSON, mediaJSON, true, false, s.createTarget},
		"GET /token/dispatch/targets":      {"", mediaJSON, true, false, s.queryTargets},
		// The body is signed: no session is needed.
		"PATCH /token/dispatch/targets/{id}":  {mediaJOSE, "", false, false, s.modifyTarget},
		"DELETE /token/dispatch/targets/{id}": {"", "", true, false, s.deleteTarget},
		"POST /token/redeem/{operation}":      {mediaJSON, mediaUAF, false, false, s.redeem},
		"POST /status":                        {mediaJSON, mediaJSON, false, false, s.status},
		"POST /uaf/1.1/request/{operation}":   {mediaUAF, mediaUAF, true, false, s.requestInBand},
		"POST /uaf/1.1/registration":          {mediaUAF, mediaUAF, false, false, s.answerRegistration},
		"POST /uaf/1.1/authentication":        {mediaUAF, mediaUAF, false, false, s.answerAuthentication},
		"PATCH /devices/credentials/{id}":     {"", "", false, true, s.modifyDevice},
		"DELETE /devices/credentials/{id}":    {"", "", false, true, s.deleteDevice},
	} {
		method, below, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+basePath+below, s.guard(v))
	}
	return mux
}

// guard checks what all services have in common, and writes the answer.
func (s *Server) guard(v service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var status int
		var answer any
		op := nevisfido.Operation(r.PathValue("operation"))
		switch {
		case v.notLTS21 && s.is(LTS21):
			status = http.StatusNotFound
		case v.protected && s.options.Authorization != "" && r.Header.Get("Authorization") != s.options.Authorization:
			status = http.StatusUnauthorized
		case v.produces != "" && !accepts(r.Header.Values("Accept"), v.produces):
			status = http.StatusNotAcceptable
		case v.consumes != "" && !isMedia(r.Header.Get("Content-Type"), v.consumes):
			status = http.StatusUnsupportedMediaType
		case op != "" && !op.Valid():
			status = http.StatusNotFound
		default:
			status, answer = v.serve(r, double.Body(r))
		}
		reply(w, status, v.produces, answer)
	}
}

// reply answers. The form of errors is not documented: this is Spring's.
func reply(w http.ResponseWriter, status int, media string, answer any) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	if status >= http.StatusBadRequest {
		media, answer = mediaJSON, map[string]any{"status": status, "error": http.StatusText(status)}
	}
	body := encode(answer)
	w.Header().Set("Content-Type", media+";charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// isMedia reports whether a Content-Type is the wanted one, in UTF-8.
func isMedia(contentType, want string) bool {
	got, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	return err == nil && got == want && (!given || strings.EqualFold(charset, "utf-8"))
}

// accepts reports whether the Accept headers name a media type or its family.
// Clients often send none.
func accepts(headers []string, media string) bool {
	kind, _, _ := strings.Cut(media, "/")
	for entry := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		got, _, _ := mime.ParseMediaType(entry)
		if slices.Contains([]string{media, kind + "/*", "*/*"}, got) {
			return true
		}
	}
	return len(headers) == 0
}
