package google

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
)

// Scopes of which an assertion has to name one.
var scopes = []string{
	"https://www.googleapis.com/auth/firebase.messaging",
	"https://www.googleapis.com/auth/cloud-platform",
}

const (
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	maxAssertion  = time.Hour
	tokenLifetime = time.Hour
	clockSkew     = 5 * time.Minute
)

// account is the service account that the server knows.
type account struct {
	id  string
	key *rsa.PrivateKey
}

// RotateKey gives the service account a new key. The old one is no longer
// accepted; access tokens that were issued stay good.
func (s *Server) RotateKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the service account's key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = account{id: strings.ToLower(random()), key: key}
	return nil
}

// ServiceAccountJSON returns the content of the credentials file that Google's
// console would offer for the service account's present key.
func (s *Server) ServiceAccountJSON() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	der, err := x509.MarshalPKCS8PrivateKey(s.account.key)
	if err != nil {
		panic(err) // an RSA key always has a PKCS #8 form
	}
	out, err := json.MarshalIndent(map[string]string{
		"type":            "service_account",
		"project_id":      s.project,
		"private_key_id":  s.account.id,
		"private_key":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":    s.email(),
		"client_id":       "100000000000000000000",
		"auth_uri":        s.URL() + "/auth",
		"token_uri":       s.URL() + "/token",
		"universe_domain": "googleapis.com",
	}, "", "  ")
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	return out
}

func (s *Server) email() string {
	return "firebase-adminsdk@" + s.project + ".iam.gserviceaccount.com"
}

// serveToken is the token endpoint (RFC 7523).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	form, err := url.ParseQuery(string(double.Body(r)))
	if err != nil || form.Get("grant_type") != jwtBearer {
		oauthError(w, "unsupported_grant_type", "Invalid grant_type")
		return
	}
	if err := s.verify(form.Get("assertion")); err != nil {
		code := "invalid_grant"
		if errors.Is(err, errScope) {
			code = "invalid_scope"
		}
		oauthError(w, code, err.Error())
		return
	}
	fault.Handler(&s.script, http.HandlerFunc(s.issue), atToken).ServeHTTP(w, r)
}

// serveMetadata is the token endpoint of a machine in Google's cloud.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata-Flavor") != "Google" {
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	fault.Handler(&s.script, http.HandlerFunc(s.issue), atToken).ServeHTTP(w, r)
}

var errScope = errors.New("invalid OAuth scope")

// verify checks an assertion as Google does.
func (s *Server) verify(assertion string) error {
	s.mu.Lock()
	known := s.account
	s.mu.Unlock()
	token, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return errors.New("invalid JWT: it must be signed with RS256")
	}
	var claims jwt.Claims
	var scope struct {
		Scope string `json:"scope"` // go-jose minds the letter case
	}
	if token.Headers[0].KeyID != known.id || token.Claims(known.key.Public(), &claims, &scope) != nil {
		return errors.New("invalid JWT signature")
	}
	switch now := time.Now(); {
	case claims.Issuer != s.email():
		return errors.New("invalid grant: account not found")
	case !slices.Equal(claims.Audience, jwt.Audience{s.URL() + "/token"}):
		return errors.New("invalid JWT: failed audience check")
	case claims.IssuedAt == nil || claims.Expiry == nil,
		claims.Expiry.Time().Before(now),
		claims.IssuedAt.Time().After(now.Add(clockSkew)),
		claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > maxAssertion:
		return errors.New("invalid JWT: it must be a short-lived token (60 minutes) and in a reasonable timeframe")
	case !slices.ContainsFunc(strings.Fields(scope.Scope), func(s string) bool { return slices.Contains(scopes, s) }):
		return errScope
	}
	return nil
}

// issue makes an access token.
func (s *Server) issue(w http.ResponseWriter, _ *http.Request) {
	token := "ya29." + random()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access[token] = time.Now().Add(tokenLifetime)
	reply(w, http.StatusOK, map[string]any{
		"access_token": token, "expires_in": int(tokenLifetime.Seconds()), "token_type": "Bearer",
	})
}

// RevokeTokens makes every access token invalid.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

// authentic reports whether a request bears an access token that is good.
func (s *Server) authentic(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	expires, ok := s.access[token]
	return ok && time.Now().Before(expires)
}
