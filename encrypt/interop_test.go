package encrypt_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

var interopMessages = flag.Int("interop.messages", 25, "messages per key and direction in the interop test")

// job is one piece of work for a foreign implementation; see testdata/interop.
type job struct {
	Do      string          `json:"do"`
	Key     json.RawMessage `json:"key,omitempty"`
	Alg     string          `json:"alg,omitempty"`
	Enc     string          `json:"enc,omitempty"`
	Compact string          `json:"compact,omitempty"`
	Payload string          `json:"payload,omitempty"`

	check func(result) error
}

type result struct {
	Key  json.RawMessage `json:"key"`
	Text string          `json:"text"`
}

// peer is an implementation of JOSE that is not ours.
type peer struct {
	name    string
	command []string
	// probe fails if the implementation is not installed.
	probe []string
}

func peers() []peer {
	python := cmp.Or(os.Getenv("OOB_PYTHON"), "/usr/bin/python3")
	return []peer{
		{"jwcrypto", []string{python, "jwcrypto_peer.py"}, []string{python, "-c", "import jwcrypto"}},
		{"jose", []string{"node", "jose_peer.mjs"}, []string{"node", "-e", "require.resolve('jose')"}},
	}
}

// run has the peer do all jobs in one process and checks what it answers.
func (p peer) run(t *testing.T, jobs []job) {
	t.Helper()
	probe := exec.CommandContext(t.Context(), p.probe[0], p.probe[1:]...)
	probe.Dir = "testdata/interop"
	if err := probe.Run(); err != nil {
		testservice.Lacking(t, "%s is not installed; ./test.sh installs what the tests need (%v)", p.name, err)
	}
	input, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), p.command[0], p.command[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = "testdata/interop", bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, stderr.String())
	}
	var results []result
	if err := json.Unmarshal(output, &results); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	if len(results) != len(jobs) {
		t.Fatalf("%s did %d of %d jobs", p.name, len(results), len(jobs))
	}
	for i, j := range jobs {
		if err := j.check(results[i]); err != nil {
			t.Errorf("%s of job %d (%s %s): %v", j.Do, i, j.Alg, j.Enc, err)
		}
	}
}

func sameText(want string) func(result) error {
	return func(r result) error {
		if r.Text != want {
			return fmt.Errorf("got %q, want %q", r.Text, want)
		}
		return nil
	}
}

func TestForeignImplementationsOpen(t *testing.T) {
	var jobs []job
	for _, pair := range everyPair(t) {
		alg, enc := pair.Public().Algorithms()
		for i := range *interopMessages {
			text := message(i)
			sealed, err := pair.Public().Seal([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs,
				job{Do: "open", Key: pair.JWK(), Alg: alg, Compact: sealed, check: sameText(text)},
				job{Do: "seal", Key: pair.Public().JWK(), Alg: alg, Enc: enc, Payload: text, check: opensTo(pair, text)})
		}
	}
	for _, alg := range []string{"RSA-OAEP-256", "ECDH-ES+A256KW"} {
		jobs = append(jobs, job{Do: "generate", Alg: alg, check: sealsAndOpens})
	}
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) { p.run(t, jobs) })
	}
}

func TestForeignImplementationsSign(t *testing.T) {
	var jobs []job
	for _, kind := range []string{"RSA-2048", "P-256", "P-384", "P-521", "Ed25519"} {
		key := signingKey(t, kind)
		signed, err := key.Sign([]byte(message(0)))
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job{Do: "verify", Key: key.JWK(), Compact: signed, check: sameText(message(0))})
	}
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		jobs = append(jobs, job{Do: "sign", Alg: alg, Payload: message(1), check: verifiesTo(message(1))})
	}
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) { p.run(t, jobs) })
	}
}

// message is an out-of-band payload; its length varies so that every padding
// occurs.
func message(i int) string {
	return fmt.Sprintf(`{"token":"%032d","redeem_url":"https://login.example.com/ünïcode","pad":"%s"}`, i, strings.Repeat("x", i%33))
}

func opensTo(pair *devicekey.PrivateKey, want string) func(result) error {
	return func(r result) error {
		got, err := pair.Open(r.Text)
		if err != nil {
			return err
		}
		return sameText(want)(result{Text: string(got)})
	}
}

// sealsAndOpens takes a foreign key pair into use.
func sealsAndOpens(r result) error {
	pair, err := devicekey.ParsePrivateKey(r.Key)
	if err != nil {
		return err
	}
	sealed, err := pair.Public().Seal([]byte(message(2)))
	if err != nil {
		return err
	}
	return opensTo(pair, message(2))(result{Text: sealed})
}

func verifiesTo(want string) func(result) error {
	return func(r result) error {
		key, err := encrypt.ParseSignatureKey(r.Key)
		if err != nil {
			return err
		}
		got, err := key.Verify(r.Text)
		if err != nil {
			return err
		}
		return sameText(want)(result{Text: string(got)})
	}
}
