package idm

import (
	"cmp"
	"crypto/subtle"
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

// serveHTTP notes a request and gives it to the next fault or the service.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.note(r)
	fault(http.HandlerFunc(s.answer)).ServeHTTP(w, r)
}

func (s *Server) note(r *http.Request) Fault {
	q := Request{Method: r.Method, URI: r.RequestURI, Authorization: r.Header.Get("Authorization")}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		q.Certificate = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == maxRequests {
		s.requests = slices.Delete(s.requests, 0, 1)
	}
	s.requests = append(s.requests, q)
	if len(s.script) == 0 {
		return Regular
	}
	fault := s.script[0]
	s.script = s.script[1:]
	return fault
}

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
		s.serveClient(w, r, segments[1], segments[2])
	case len(segments) >= 3 && segments[1] == "users":
		s.serveUser(w, r, segments[0], segments[2], segments[3:])
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
	var want string
	switch {
	case l.Bearer != "":
		want = "Bearer " + l.Bearer
	case l.Username != "":
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte(l.Username+":"+l.Password))
	default:
		return true
	}
	return subtle.ConstantTimeCompare([]byte(authorization), []byte(want)) == 1
}

// serveClient answers /clients/{extId}/users and /clients/{extId}/generic-credentials.
func (s *Server) serveClient(w http.ResponseWriter, r *http.Request, client, list string) {
	known := client == s.options.Client
	switch {
	case list == "users" && known:
		s.list(w, r, s.usersLike(r.URL.Query().Get("loginId")))
	case list == "generic-credentials" && s.options.Release == LTS21:
		noSuchPath(w)
	case list == "generic-credentials" && known:
		var all []object
		for _, u := range s.users {
			all = append(all, s.credentials(u.ExtID)...)
		}
		s.list(w, r, all)
	case list == "users" || list == "generic-credentials":
		fail(w, http.StatusNotFound, "client.not.found")
	default:
		noSuchPath(w)
	}
}

// serveUser answers /{client}/users/{extId} and what is below it.
func (s *Server) serveUser(w http.ResponseWriter, r *http.Request, client, extID string, rest []string) {
	known := client == s.options.Client && slices.ContainsFunc(s.users, func(u User) bool { return u.ExtID == extID })
	kind := ""
	if len(rest) > 0 {
		kind = rest[0]
	}
	switch {
	case kind == "dispatch-targets" && s.options.Release != V8_2605, len(rest) > 2:
		noSuchPath(w)
	case kind != "" && kind != "dispatch-targets" && kind != "generic-credentials":
		noSuchPath(w)
	case !known:
		fail(w, http.StatusNotFound, "user.not.found")
	case kind == "":
		i := slices.IndexFunc(s.users, func(u User) bool { return u.ExtID == extID })
		reply(w, http.StatusOK, s.users[i].object(s.options.Client))
	default:
		all := s.credentials(extID)
		if kind == "dispatch-targets" {
			all = s.entities(extID)
		}
		if len(rest) == 1 {
			s.list(w, r, all)
			return
		}
		i := slices.IndexFunc(all, func(o object) bool { return o["extId"] == rest[1] })
		if i < 0 {
			fail(w, http.StatusNotFound, "entity.not.found")
			return
		}
		reply(w, http.StatusOK, all[i])
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
