package webhook

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// The recipes of docs/webhook.md tell what the gateways answer.
func TestRecipes(t *testing.T) {
	document, err := os.ReadFile("../../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	common := regexp.MustCompile(`(?m)^\t(retries|address|base_url|short_links) .*\n`)
	type answer struct {
		status int
		body   string
		want   dispatchers.Class
	}
	const ok = dispatchers.Delivered
	answers := map[string][]answer{
		"api.twilio.com": {
			{201, `{"sid":"SM1","status":"queued","error_code":null}`, ok},
			{400, `{"code":21211,"status":400}`, dispatchers.Refused},
			{401, `{"code":20003}`, dispatchers.Refused},
			{429, `{"code":20429}`, dispatchers.Temporary},
		},
		"rest.nexmo.com": {
			{200, `{"message-count":"1","messages":[{"to":"41790000001","status":"0","message-id":"x"}]}`, ok},
			{200, `{"message-count":"1","messages":[{"status":"4","error-text":"Bad Credentials"}]}`, dispatchers.Broken},
			{200, `{"message-count":"1","messages":[{ "status": "1" }]}`, dispatchers.Temporary},
			{200, `{"message-count":"2","messages":[{"status":"0"},{"status":"9"}]}`, dispatchers.Refused},
			{200, `{"messages":[{"status":"15"}]}`, dispatchers.Refused},
			{200, `<html>`, dispatchers.Refused},
		},
		"json.aspsms.com": {
			{200, `{"StatusCode":"1","StatusInfo":"OK"}`, ok},
			{200, `{"StatusCode":"3","StatusInfo":"Authorization failed."}`, dispatchers.Broken},
			{200, `{"StatusCode":"10","StatusInfo":"x"}`, dispatchers.Refused},
		},
		"xml.aspsms.com": {
			{200, `<?xml version="1.0"?><aspsms><ErrorCode>1</ErrorCode></aspsms>`, ok},
			{200, `<aspsms><ErrorCode>3</ErrorCode></aspsms>`, dispatchers.Refused},
		},
		"url.ecall.ch": {
			{200, "ResultCode: 0\r\nResultText: OK", ok},
			{200, "ResultCode: 11100", dispatchers.Refused},
		},
		"rest.messagebird.com": {
			{201, `{"id":"x"}`, ok},
			{422, `{"errors":[{"code":9}]}`, dispatchers.Refused},
		},
		"my.smscentral.com.au": {
			{200, "0\n", ok},
			{200, "513", dispatchers.Refused},
		},
	}
	recipes := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllSubmatch(document, -1)
	if len(recipes) != len(answers) {
		t.Errorf("%d recipes, %d are tried", len(recipes), len(answers))
	}
	for _, recipe := range recipes {
		text := common.ReplaceAllString(strings.TrimPrefix(string(recipe[1]), "dispatcher sms "), "")
		w := new(Webhook)
		if err := w.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			t.Errorf("%v:\n%s", err, text)
			continue
		}
		host, _, _ := strings.Cut(strings.TrimPrefix(string(w.URL), "https://"), "/")
		p, err := newPlan(w, nil)
		if err != nil || answers[host] == nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		for _, a := range answers[host] {
			err := p.answers.judge(&httpsend.Service{Statuses: statuses}, httpsend.Answer{Status: a.status, Body: []byte(a.body)}, nil)
			if got := ok; err != nil || a.want != ok {
				if err != nil {
					got = dispatchers.AsError(err).Class
				}
				if got != a.want {
					t.Errorf("%s: %d %s means %s, want %s", host, a.status, a.body, got, a.want)
				}
			}
		}
	}
}
