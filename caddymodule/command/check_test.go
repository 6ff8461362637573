package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// Each part that would not work is found, and the others are tried all the same.
func TestCheck(t *testing.T) {
	server, err := mail.Start(mail.Options{User: "sidecar", Password: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	fcm, err := google.Start(google.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fcm.Close()
	nevisIDM, err := idm.Start(idm.Options{Login: idm.Login{Username: "sidecar", Password: "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer nevisIDM.Close()
	folder := t.TempDir()
	account, ca := filepath.Join(folder, "firebase.json"), filepath.Join(folder, "ca.pem")
	writeFile(t, account, string(fcm.ServiceAccountJSON()))
	writeFile(t, ca, string(server.CA()))
	push := func(account string) string {
		return fmt.Sprintf("dispatcher push fcm {\n credentials %s\n endpoint %s\n}\n", account, fcm.URL())
	}
	sendMail := func(password string) string {
		return fmt.Sprintf("dispatcher post smtp {\n server %s\n tls starttls\n ca %s\n auth sidecar %s\n from bank@example.com\n address a@example.com\n base_url https://a.example.com/o\n}\n",
			server.Addr(), ca, password)
	}
	source := func(password string) string {
		return fmt.Sprintf("key_source nevisidm %s {\n client 100\n auth basic sidecar %s\n}\n", nevisIDM.URL(), password)
	}
	letter := func(spool string) string {
		return fmt.Sprintf("token_lifetime registration 200h\ndispatcher paper letter {\n operations registration\n spool %s\n sender \"Bank | Street 1 | 8000 Zurich\"\n address \"A|B|C\"\n base_url https://a.example.com/o\n}\n", spool)
	}
	for name, tt := range map[string]struct {
		options string
		store   func(t *testing.T, path string)
		wrong   string // the part that is
	}{
		"all well":           {options: source("hunter2") + push(account) + sendMail("hunter2") + letter(folder)},
		"a wrong password":   {options: push(account) + sendMail("other"), wrong: "dispatcher post"},
		"nevisIDM refuses":   {options: source("other") + push(account), wrong: "key sources"},
		"no such credential": {options: push("/no/such/file") + sendMail("hunter2"), wrong: "dispatcher push"},
		"no such spool":      {options: push(account) + letter(filepath.Join(folder, "none")), wrong: "dispatcher paper"},
		"a store that is no folder": {
			options: push(account),
			store:   func(t *testing.T, path string) { writeFile(t, path, "") },
			wrong:   "store",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSidecar(t, tt.options)
			if tt.store != nil {
				tt.store(t, s.storage)
			}
			got := caddyOOB(t, "", "check", "--json", "--config", s.config)
			if (got.err == nil) != (tt.wrong == "") {
				t.Errorf("it ended with %v", got.err)
			}
			parts := 0
			for line := range strings.Lines(got.out) {
				var c struct {
					Part string
					OK   bool
					Text string
				}
				if err := json.Unmarshal([]byte(line), &c); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if parts++; c.OK != (c.Part != tt.wrong) || c.Text == "" {
					t.Errorf("%+v", c)
				}
			}
			if want := 2 + strings.Count(tt.options, "dispatcher ") + strings.Count(tt.options, "key_source "); parts != want { // the store, and the link of all
				t.Errorf("%d parts were tried, want %d:\n%s", parts, want, got.text())
			}
			if text := caddyOOB(t, "", "check", "--config", s.config); (tt.wrong == "") == strings.Contains(text.out, "WRONG") || strings.Contains(text.text(), "hunter2") {
				t.Errorf("the table is\n%s", text.text())
			}
		})
	}
	if n := len(server.Mails()); n > 0 || fcm.Sends() == 0 {
		t.Errorf("%d mails were sent, FCM was asked %d times", n, fcm.Sends())
	}
	if _, err := os.Stat(filepath.Join(folder, "none")); err == nil {
		t.Error("a spool folder was made")
	}
}
