// Package printer is a double of a printer that speaks IPP (RFC 8011). It prints
// everything, and keeps the names of the jobs.
package printer

import (
	"bytes"
	"net/http"
	"slices"
	"sync"

	"github.com/OpenPrinting/goipp"

	"github.com/oob-dispatch/oob-dispatch/simulator/double"
)

// Server is the double. It prints what comes to any path.
type Server struct {
	*double.Server

	mu   sync.Mutex
	jobs []string
}

// Start runs a printer on a free port of 127.0.0.1; Close ends it.
func Start() (*Server, error) {
	s := &Server{}
	var err error
	if s.Server, err = double.Listen("", nil); err != nil {
		return nil, err
	}
	double.Serve(s.Server, http.HandlerFunc(s.print))
	return s, nil
}

// Jobs returns the names of what was printed, oldest first; of very many the
// latest.
func (s *Server) Jobs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs)
}

func (s *Server) print(w http.ResponseWriter, r *http.Request) {
	var request goipp.Message
	if err := request.Decode(bytes.NewReader(double.Body(r))); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, a := range request.Operation {
		if a.Name == "job-name" {
			s.mu.Lock()
			s.jobs = double.Keep(s.jobs, a.Values.String())
			s.mu.Unlock()
		}
	}
	answer := goipp.NewResponse(goipp.DefaultVersion, goipp.StatusOk, request.RequestID)
	answer.Operation.Add(goipp.MakeAttr("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	content, err := answer.EncodeBytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", goipp.ContentType)
	_, _ = w.Write(content)
}
