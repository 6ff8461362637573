package caddymodule

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// healthOf starts Caddy with options of the handler, and global ones, and returns
// what asks for its health.
func healthOf(t *testing.T, options string, global ...string) (ask func(method, query string) (int, report), s *site) {
	t.Helper()
	internal := testservice.FreeAddress(t)
	s = newSite(t)
	load(t, adapt(t, loggingTo(t, filepath.Join(t.TempDir(), "log"), "{\n"+strings.Join(global, "\n")+"\n}\nhttp://"+s.address+" {\n\toob_dispatch {\n\t\tdispatcher open link {\n\t\t\tencryption off\n\t\t\tbase_url https://a.example/open\n\t\t}\n\t\tredeem_url https://a.example/redeem\n"+options+"\n\t}\n"+
		"\theader Content-Type application/json\n\trespond `{\"dispatchResult\":\"dispatched\",\"token\":\"0123456789abcdef0123456789abcdef\",\"dispatcherInformation\":{\"name\":\"link\""+
		"}}`\n}\n"+
		"http://"+internal+" {\n\toob_health /ready\n}\n")))
	return func(method, query string) (int, report) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+internal+"/ready"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		var all report
		if len(text) > 0 && json.Unmarshal(text, &all) != nil {
			t.Fatalf("%s: %s", answer.Status, text)
		}
		return answer.StatusCode, all
	}, s
}

func TestHealthFollowsTheStore(t *testing.T) {
	root := filepath.Join(testservice.Folder(t), "targets")
	writeFile(t, root, "not a folder")
	ask, _ := healthOf(t, "\t\tnamespace bank\n\t\tstore caddy {\n\t\t\tstorage file_system "+root+"\n\t\t}")
	status, all := ask(http.MethodGet, "")
	if status != http.StatusServiceUnavailable || all.Ready || len(all.Dispatch) != 1 || all.Dispatch[0].Store.Writable || all.Dispatch[0].Store.Error == "" ||
		all.Dispatch[0].BasePath != "/nevisfido" || all.Dispatch[0].Namespace != "bank" {
		t.Errorf("with a store that cannot be written: %d %+v", status, all)
	}
	if status, _ := ask(http.MethodGet, "?live"); status != http.StatusOK {
		t.Errorf("live: %d", status)
	}
	since := all.Dispatch[0].Store.Since
	if _, all = ask(http.MethodGet, ""); since == nil || all.Dispatch[0].Store.Since == nil || !since.Equal(*all.Dispatch[0].Store.Since) {
		t.Errorf("it fails since %v, and then since %v", since, all.Dispatch[0].Store.Since)
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	time.Sleep(healthInterval + 100*time.Millisecond)
	if status, all = ask(http.MethodGet, ""); status != http.StatusOK || !all.Ready || !all.Dispatch[0].Store.Writable || all.Dispatch[0].Store.Since != nil {
		t.Errorf("once the store works: %d %+v", status, all)
	}
	if status, _ := ask(http.MethodHead, ""); status != http.StatusOK {
		t.Errorf("HEAD: %d", status)
	}
	if status, _ := ask(http.MethodPost, ""); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", status)
	}
}

// Where the handler only observes, everything passes, whatever the store does.
func TestHealthOfAnObserver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	ask, _ := healthOf(t, "\t\tobserve\n\t\tstore caddy {\n\t\t\tstorage file_system "+file+"\n\t\t}")
	if status, all := ask(http.MethodGet, ""); status != http.StatusOK || !all.Ready || all.Dispatch[0].Store.Writable || !all.Dispatch[0].Observe {
		t.Errorf("%d %+v", status, all)
	}
}

func TestHealthOfDispatchersAndAudit(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit", "audit.jsonl")
	if err := os.MkdirAll(filepath.Dir(audit), 0o700); err != nil {
		t.Fatal(err)
	}
	ask, s := healthOf(t, "\t\tstore caddy {\n\t\t\tstorage file_system "+testservice.Folder(t)+"\n\t\t}\n\t\taudit file "+audit)
	dispatch := func() {
		t.Helper()
		if result := s.dispatch("open", "jeff"); result != "dispatched" {
			t.Fatal(result)
		}
	}
	status, all := ask(http.MethodGet, "")
	if last, listed := all.Dispatch[0].Dispatchers["open"]; status != http.StatusOK || !listed || last.Success != nil || all.Dispatch[0].Audit == nil || !all.Dispatch[0].Audit.Writable {
		t.Errorf("at the beginning: %d %+v", status, all)
	}
	before := time.Now()
	dispatch()
	_, all = ask(http.MethodGet, "")
	if last := all.Dispatch[0].Dispatchers["open"]; last.Success == nil || last.Success.Before(before.Add(-time.Second)) || last.Failure != nil {
		t.Errorf("after a dispatch: %+v", all)
	}
	if err := os.RemoveAll(filepath.Dir(audit)); err != nil {
		t.Fatal(err)
	}
	dispatch()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		dispatch()
		if status, all = ask(http.MethodGet, ""); !all.Dispatch[0].Audit.Writable && all.Dispatch[0].Audit.Error != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without the folder of the audit file: %+v", all)
		}
	}
	if status != http.StatusOK {
		t.Errorf("dispatches go on without the audit file, and health says %d", status)
	}
}
