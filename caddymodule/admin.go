package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	strict "github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin is what Caddy's admin endpoint offers below `/oob/` for the `oob_dispatch`
// of the running configuration. docs/admin.md has the routes.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.oob",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		adminRoute("/oob/", nil),
		adminRoute("/oob/health", methods{http.MethodGet: adminHealth}),
		adminRoute("/oob/dispatchers", methods{http.MethodGet: adminDispatchers}),
		adminRoute("/oob/send", methods{http.MethodPost: adminSend}),
		adminRoute("/oob/targets/import", methods{http.MethodPost: ofTargets(adminImport)}),
		adminRoute("/oob/targets/{id}", methods{http.MethodGet: ofTargets(adminShow), http.MethodDelete: ofTargets(adminForget)}),
		adminRoute("/oob/targets/{id}/block", methods{http.MethodPost: ofTargets(adminBlock((*targets.Directory).Block))}),
		adminRoute("/oob/targets/{id}/unblock", methods{http.MethodPost: ofTargets(adminBlock((*targets.Directory).Unblock))}),
	}
}

// methods are those of a path.
type methods map[string]caddy.AdminHandlerFunc

func adminRoute(pattern string, methods methods) caddy.AdminRoute {
	return caddy.AdminRoute{Pattern: pattern, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		handle := methods[r.Method]
		switch {
		case methods == nil:
			return adminError(http.StatusNotFound, "there is no %s: docs/admin.md has the paths", r.URL.Path)
		case handle == nil:
			allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
			w.Header().Set("Allow", allowed)
			return adminError(http.StatusMethodNotAllowed, "use %s", allowed)
		}
		return handle(w, r)
	})}
}

func adminError(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// targetError says what is wrong with a target, without its id: Caddy logs it.
func targetError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, targets.ErrNotFound):
		return adminError(http.StatusNotFound, "there is no such target: check its id, and the namespace where there are several handlers")
	}
	return adminError(http.StatusServiceUnavailable, "nothing was changed: %w", err)
}

// runningHandlers are the handlers of the running configuration that a query means.
func runningHandlers(query url.Values) (all []*Handler, choice operate.Choice, err error) {
	choice.How = "namespace or base_path in the query"
	for name, value := range map[string]**string{"namespace": &choice.Namespace, "base_path": &choice.BasePath} {
		if query.Has(name) {
			text := query.Get(name)
			*value = &text
		}
	}
	all = handlersOf(runningRegistry())
	if len(all) == 0 {
		err = adminError(http.StatusNotFound, "the running configuration has no oob_dispatch handler")
	}
	return all, choice, err
}

// chosenHandler is the one that a query means. Where it is about targets alone,
// handlers that share them are one.
func chosenHandler(query url.Values, targetsAlone bool) (*Handler, error) {
	all, choice, err := runningHandlers(query)
	if err != nil {
		return nil, err
	}
	h, err := operate.Choose(choice, all, (*Handler).Name, func(a, b *Handler) bool {
		return targetsAlone && a.exchange.Targets.Unsynced == b.exchange.Targets.Unsynced
	})
	if err != nil {
		return nil, adminError(http.StatusBadRequest, "%w", err)
	}
	return h, nil
}

func runningRegistry() *prometheus.Registry {
	active := caddy.ActiveContext()
	return active.GetMetricsRegistry()
}

func adminHealth(w http.ResponseWriter, r *http.Request) error {
	return (&Health{registry: runningRegistry()}).ServeHTTP(w, r, nil)
}

// handlerDispatchers are the dispatchers of one oob_dispatch.
type handlerDispatchers struct {
	BasePath    string            `json:"base_path"`
	Namespace   string            `json:"namespace,omitempty"`
	Dispatchers []dispatcherState `json:"dispatchers"`
}

type dispatcherState struct {
	Name string `json:"name"`
	Type string `json:"type"`
	lastAttempts
}

func adminDispatchers(w http.ResponseWriter, r *http.Request) error {
	all, choice, err := runningHandlers(r.URL.Query())
	if err != nil {
		return err
	}
	answer := struct {
		Dispatch []handlerDispatchers `json:"oob_dispatch"`
	}{[]handlerDispatchers{}}
	for _, h := range all {
		if choice.Fits(h.Name()) {
			answer.Dispatch = append(answer.Dispatch, h.dispatchers())
		}
	}
	return answerJSON(w, http.StatusOK, answer)
}

func (h *Handler) dispatchers() handlerDispatchers {
	all := handlerDispatchers{BasePath: h.BasePath, Namespace: h.Namespace, Dispatchers: []dispatcherState{}}
	h.health.mu.Lock()
	defer h.health.mu.Unlock()
	for _, d := range h.Dispatchers {
		all.Dispatchers = append(all.Dispatchers, dispatcherState{d.Name, h.exchange.Channels[d.Name].Type, h.health.attempts[d.Name]})
	}
	return all
}

// ofTargets makes a function that is about the targets of a handler the admin API's.
func ofTargets(f func(h *Handler, w http.ResponseWriter, r *http.Request) error) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		h, err := chosenHandler(r.URL.Query(), true)
		if err != nil {
			return err
		}
		return f(h, w, r)
	}
}

func adminShow(h *Handler, w http.ResponseWriter, r *http.Request) error {
	t, err := h.exchange.Targets.Known(r.Context(), r.PathValue("id"))
	if err != nil {
		return targetError(err)
	}
	return answerJSON(w, http.StatusOK, operate.ViewOf(t, time.Now()))
}

func adminForget(h *Handler, w http.ResponseWriter, r *http.Request) error {
	err := targetError(h.exchange.Targets.Forget(r.Context(), r.PathValue("id")))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// adminBlock blocks or unblocks a target.
func adminBlock(change func(*targets.Directory, context.Context, string) (bool, error)) func(*Handler, http.ResponseWriter, *http.Request) error {
	return func(h *Handler, w http.ResponseWriter, r *http.Request) error {
		changed, err := change(h.exchange.Targets, r.Context(), r.PathValue("id"))
		if err != nil {
			return targetError(err)
		}
		return answerJSON(w, http.StatusOK, operate.Changed{Changed: changed})
	}
}

// Bounds of bodies, in bytes. An import has bounds for its lines as well, and
// takes no more memory for being long.
const (
	maxTest   = 64 << 10
	maxImport = 4 << 30
)

// importJobs is the number of records that an import stores at a time.
const importJobs = 8

func adminImport(h *Handler, w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	im := &transfer.Import{
		Store: h.exchange.Targets.Store, Namespace: h.Namespace, Policy: h.exchange.Targets.Policy,
		Overwrite: transfer.Newer, Jobs: importJobs, DryRun: query.Has("dry_run"), Strict: query.Has("strict"),
		Stored: func(ctx context.Context, before, t *targets.Target) {
			e := targets.Event{Name: targets.EventLearned, Ref: t.Ref(), User: t.Username, Source: targets.SourceImport, Thumbprint: t.Thumbprint}
			h.exchange.Targets.Events(ctx, e)
			if before != nil && before.Thumbprint != "" && before.Thumbprint != t.Thumbprint {
				e.Name = targets.EventKeyChanged
				h.exchange.Targets.Events(ctx, e)
			}
		},
	}
	if query.Has("overwrite") {
		if err := im.Overwrite.Set(query.Get("overwrite")); err != nil {
			return adminError(http.StatusBadRequest, "overwrite: %w", err)
		}
	}
	report, err := im.Run(r.Context(), http.MaxBytesReader(w, r.Body, maxImport))
	if err != nil {
		return adminError(http.StatusBadRequest, "the import ended after line %d: %w; repeat it, which leaves alone what is stored already", report.Lines, err)
	}
	return answerJSON(w, http.StatusOK, report)
}

func adminSend(w http.ResponseWriter, r *http.Request) error {
	h, err := chosenHandler(r.URL.Query(), false)
	if err != nil {
		return err
	}
	test, err := readTest(w, r)
	if err != nil {
		return adminError(http.StatusBadRequest, "the body has to be a JSON object with dispatcher, target, and perhaps operation and header: %w", err)
	}
	record, err := h.exchange.Send(h.testCall(w, r, test), test.Operation, test.Dispatcher, test.Target)
	switch {
	case errors.Is(err, exchange.ErrNoDispatcher):
		var names []string
		for _, d := range h.Dispatchers {
			names = append(names, d.Name)
		}
		return adminError(http.StatusNotFound, "there is no dispatcher %.80q; there are %s", test.Dispatcher, strings.Join(names, ", "))
	case errors.Is(err, targets.ErrNotFound):
		return targetError(err)
	case err != nil:
		return adminError(http.StatusBadRequest, "%w", err)
	}
	return answerJSON(w, http.StatusOK, testResult(record))
}

// readTest reads the body strictly. Errors do not quote it: it may hold addresses.
func readTest(w http.ResponseWriter, r *http.Request) (test operate.Test, err error) {
	if strict.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxTest), &test, strict.RejectUnknownMembers(true)) != nil {
		return test, fmt.Errorf("it is not, or has other members, or more than %d KiB", maxTest>>10)
	}
	if test.Operation == "" {
		test.Operation = nevisfido.Authentication
	}
	switch {
	case test.Dispatcher == "" || test.Target == "":
		return test, errors.New("dispatcher and target must not be empty")
	case !slices.Contains(nevisfido.Operations(), test.Operation):
		return test, fmt.Errorf("there is no operation %.80q", string(test.Operation))
	}
	return test, nil
}

// testCall stands for the call of a relying party, for Caddy's placeholders.
func (h *Handler) testCall(w http.ResponseWriter, r *http.Request, test operate.Test) *http.Request {
	call := r.Clone(r.Context())
	call.Method, call.URL = http.MethodPost, &url.URL{Path: h.BasePath + "/token/dispatch/" + string(test.Operation)}
	call.RequestURI, call.RemoteAddr = call.URL.Path, "127.0.0.1:0"
	call.Header, call.Body, call.ContentLength = make(http.Header), http.NoBody, 0
	for name, values := range test.Header {
		for _, value := range values {
			call.Header.Add(name, value)
		}
	}
	return caddyhttp.PrepareRequest(call, caddy.NewReplacer(), w, new(caddyhttp.Server))
}

func testResult(r exchange.Record) operate.Outcome {
	result := operate.Outcome{
		Dispatcher: r.Dispatcher, Delivered: r.Delivered, Result: string(r.Result), Class: string(r.Class), Reason: r.Reason, Cause: r.Cause,
		Encryption: r.Encryption, Alg: r.Alg, Enc: r.Enc, Thumbprint: r.Thumbprint, Token: r.Token, Target: r.Target,
		Took: r.Took.Milliseconds(), Attempts: []operate.Attempt{},
	}
	for _, a := range r.Attempts {
		result.Attempts = append(result.Attempts, operate.Attempt{
			Dispatcher: a.Dispatcher, Made: a.Made, Class: string(a.Class), Reason: a.Reason, Cause: a.Cause, Took: a.Took.Milliseconds(),
		})
	}
	for _, f := range r.Fallbacks {
		result.Fallbacks = append(result.Fallbacks, operate.Fallback{From: f.From, To: f.To, Reason: f.Reason})
	}
	return result
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
