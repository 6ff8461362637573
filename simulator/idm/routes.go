package idm

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	basePath = "/nevisidm"
	corePath = basePath + "/api/core/v1/"
)

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	segments, ok := split(r.URL.EscapedPath())
	switch {
	case !ok:
		noSuchPath(w)
	case !s.login.admits(r.Header.Get("Authorization")):
		w.Header().Set("WWW-Authenticate", `Basic realm="nevisIDM"`)
		fail(w, http.StatusUnauthorized, "authentication.failed")
	case r.Method != http.MethodGet:
		fail(w, http.StatusMethodNotAllowed, "method.not.allowed")
	case len(segments) == 3 && segments[0] == "clients":
		s.serveClient(w, r, segments[1] == client, segments[2])
	case (len(segments) == 3 || len(segments) == 4) && segments[1] == "users":
		s.serveUser(w, r, segments[0] == client, segments[2], segments[3:])
	default:
		noSuchPath(w)
	}
}

// split returns the decoded segments of a path of the Core API. A slash within
// one is refused, as servlet containers do.
func split(path string) ([]string, bool) {
	rest, ok := strings.CutPrefix(path, corePath)
	if !ok {
		return nil, false
	}
	segments := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil || decoded == "" || strings.ContainsAny(decoded, `/\`) {
			return nil, false
		}
		segments[i] = decoded
	}
	return segments, true
}

func (l Login) admits(authorization string) bool {
	switch {
	case l.Bearer != "":
		return authorization == "Bearer "+l.Bearer
	case l.Username != "":
		return authorization == "Basic "+base64.StdEncoding.EncodeToString([]byte(l.Username+":"+l.Password))
	}
	return true
}

// serveClient answers /clients/{extId}/users and /clients/{extId}/generic-credentials.
func (s *Server) serveClient(w http.ResponseWriter, r *http.Request, known bool, list string) {
	switch {
	case list != "users" && (list != "generic-credentials" || s.options.Release == LTS21):
		noSuchPath(w)
	case !known:
		fail(w, http.StatusNotFound, "client.not.found")
	case list == "users":
		s.list(w, r, s.usersLike(r.URL.Query().Get("loginId")))
	default:
		var all []object
		for _, u := range s.users {
			all = append(all, s.credentials(u.ExtID)...)
		}
		s.list(w, r, all)
	}
}

// serveUser answers /{client}/users/{extId} and the lists below it.
func (s *Server) serveUser(w http.ResponseWriter, r *http.Request, known bool, extID string, below []string) {
	user := slices.IndexFunc(s.users, func(u User) bool { return u.ExtID == extID })
	var all []object
	switch {
	case len(below) == 0:
	case below[0] == "generic-credentials":
		all = s.credentials(extID)
	case below[0] == "dispatch-targets" && s.options.Release == V8_2605:
		all = s.entities(extID)
	default:
		noSuchPath(w)
		return
	}
	switch {
	case !known || user < 0:
		fail(w, http.StatusNotFound, "user.not.found")
	case len(below) == 0:
		reply(w, http.StatusOK, s.users[user].object())
	default:
		s.list(w, r, all)
	}
}

// list answers with one page. The token names the last item of the page before.
func (s *Server) list(w http.ResponseWriter, r *http.Request, all []object) {
	limit, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("limit"), "0"))
	if err != nil || limit < 0 {
		fail(w, http.StatusUnprocessableEntity, "limit.invalid")
		return
	}
	if limit == 0 || limit > s.options.MaxPage {
		limit = s.options.MaxPage
	}
	start := 0
	if token := r.URL.Query().Get("continuationToken"); token != "" {
		start = 1 + slices.IndexFunc(all, func(o object) bool { return o.token() == token })
		if start == 0 {
			fail(w, http.StatusUnprocessableEntity, "continuation.token.invalid")
			return
		}
	}
	end := min(start+limit, len(all))
	pagination := object{"limit": limit}
	if end < len(all) {
		pagination["continuationToken"] = all[end-1].token()
	}
	reply(w, http.StatusOK, object{
		"items": append([]object{}, all[start:end]...), "_pagination": pagination, "_classifications": object{},
	})
}

func reply(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, code string) {
	reply(w, status, object{"errors": []object{{"code": "errors." + code, "message": "simulated error"}}})
}

// noSuchPath is the servlet container's own answer.
func noSuchPath(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html;charset=iso-8859-1")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("<html><title>Error 404 Not Found</title></html>"))
}
