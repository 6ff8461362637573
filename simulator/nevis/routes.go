package nevis

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
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
	serve              func(w http.ResponseWriter, r *http.Request, body []byte)
}

func (s *Server) routes() *http.ServeMux {
	services := map[string]service{
		"POST /token/dispatch/{operation}": {mediaJSON, mediaJSON, true, s.dispatch},
		"POST /token/dispatch/targets":     {mediaJSON, mediaJSON, true, s.createTarget},
		"GET /token/dispatch/targets":      {"", mediaJSON, true, s.queryTargets},
		// The body is signed: no session is needed.
		"PATCH /token/dispatch/targets/{id}":  {mediaJOSE, "", false, s.modifyTarget},
		"DELETE /token/dispatch/targets/{id}": {"", "", true, s.deleteTarget},
		"POST /token/redeem/{operation}":      {mediaJSON, mediaUAF, false, s.redeem},
		"POST /status":                        {mediaJSON, mediaJSON, false, s.status},
		"POST /uaf/1.1/request/{operation}":   {mediaUAF, mediaUAF, true, s.requestInBand},
		"POST /uaf/1.1/registration":          {mediaUAF, mediaUAF, false, s.answerRegistration},
		"POST /uaf/1.1/authentication":        {mediaUAF, mediaUAF, false, s.answerAuthentication},
	}
	if s.options.Mode != LTS21 {
		services["PATCH /devices/credentials/{id}"] = service{"", "", false, s.modifyDevice}
		services["DELETE /devices/credentials/{id}"] = service{"", "", false, s.deleteDevice}
	}
	mux := http.NewServeMux()
	for pattern, v := range services {
		method, below, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+strings.TrimSuffix(s.options.BasePath, "/")+below, s.guard(v))
	}
	return mux
}

// guard checks what all services have in common.
func (s *Server) guard(v service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case v.protected && s.options.Authorization != "" && r.Header.Get("Authorization") != s.options.Authorization:
			refuse(w, http.StatusUnauthorized)
			return
		case v.produces != "" && !accepts(r.Header.Values("Accept"), v.produces):
			refuse(w, http.StatusNotAcceptable)
			return
		case v.consumes != "" && !isMedia(r.Header.Get("Content-Type"), v.consumes):
			refuse(w, http.StatusUnsupportedMediaType)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(w, http.StatusBadRequest)
			return
		}
		v.serve(w, r, body)
	}
}

// isMedia reports whether a Content-Type is the wanted one, in UTF-8.
func isMedia(contentType, want string) bool {
	got, params, err := mime.ParseMediaType(contentType)
	if err != nil || got != want {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// accepts reports whether the Accept headers allow a media type. Clients often
// send none.
func accepts(headers []string, media string) bool {
	if len(headers) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	best, allowed := -1, false
	for entry := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		got, params, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		// The most specific range decides (RFC 9110, section 12.5.1).
		rank := map[string]int{media: 2, kind + "/*": 1, "*/*": 0}
		specific, matches := rank[got]
		if matches && specific > best {
			best, allowed = specific, strings.Trim(params["q"], "0.") != "" || params["q"] == ""
		}
	}
	return allowed
}

// refuse answers with an error. Its form is not documented: this is Spring's.
func refuse(w http.ResponseWriter, status int) {
	answer(w, status, mediaJSON, map[string]any{"status": status, "error": http.StatusText(status)})
}

func answer(w http.ResponseWriter, status int, media string, v any) {
	body := encode(v)
	w.Header().Set("Content-Type", media+";charset=UTF-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
