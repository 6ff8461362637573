package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

func openCommand() *cobra.Command {
	var keyFile string
	var showToken, asJSON bool
	cmd := &cobra.Command{
		Use:   "open [<file>|-] [--key <file>|-] [--show-token] [--json]",
		Short: "Takes a message apart: a link, a QR picture, a push message or a JWE",
		Long: `
Takes apart what a dispatcher sent, from a file or standard input:

  - a link with dispatchTokenResponse
  - a PNG or JPEG picture of a QR code, also in base64, and the text of the code
  - a push message: what FCM gets, or what an app hands to the SDK
  - the out-of-band payload alone, or the JWE in it
  - the answer of a dispatch call

It shows each layer with its size, the header of the JWE, and what type of key
it is for. With the private key of the device, a JWK as caddy oob keygen device
makes it, it decrypts and shows what the app reads. The token stays hidden
unless --show-token asks for it: whoever has it can redeem it.

Problems are what an app may stumble over. They are listed, and the exit code
is 1.`,
		Example: `  caddy oob open code.png
  caddy oob open link.txt --key phone.jwk
  curl -s … | caddy oob open --json`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "File with the private JWK of the device, or - for standard input")
	cmd.Flags().BoolVar(&showToken, "show-token", false, "Print the token, which is a secret until it is redeemed or expires")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a JSON object")
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
		if keyFile == "-" && (len(args) == 0 || args[0] == "-") {
			return errors.New("standard input cannot be both the message and the key: give one of them as a file")
		}
		o := &opened{Problems: []string{}}
		if keyFile != "" {
			text, err := readInput(cmd, []string{keyFile})
			if err != nil {
				return fmt.Errorf("reading the private key: %w", err)
			}
			if o.key, err = parseDeviceKey(text); err != nil {
				return fmt.Errorf("reading the private key %s: %w", keyFile, err)
			}
			o.Key = &keyView{Type: operate.KeyKind(o.key.public), Thumbprint: o.key.thumbprint}
			if o.key.refused != nil {
				o.problem("no sidecar seals for this key: %v", o.key.refused)
			}
		}
		input, err := readInput(cmd, args)
		if err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
		if err := o.take(input); err != nil {
			return fmt.Errorf("taking the message apart: %w", err)
		}
		if !showToken {
			o.hideToken()
		}
		if err := output(cmd, asJSON, o, o.print); err != nil {
			return err
		}
		if n := len(o.Problems); n > 0 {
			return fmt.Errorf("an app may stumble over this message: %s", count(n, "problem"))
		}
		return nil
	})
	return cmd
}

// opened is what is known of a message. Its parts are filled from the outside
// in.
type opened struct {
	Answer   *answerView   `json:"answer,omitempty"`
	Picture  *pictureView  `json:"picture,omitempty"`
	Link     *linkView     `json:"link,omitempty"`
	Push     *pushView     `json:"push,omitempty"`
	Envelope *envelopeView `json:"envelope,omitempty"`
	JWE      *jweView      `json:"jwe,omitempty"`
	Key      *keyView      `json:"private_key,omitempty"`

	// The inner object, which the app reads; absent where it is sealed and
	// there is no key.
	Payload json.RawMessage `json:"payload,omitempty"`

	// What an app may stumble over. No text quotes a token or a JWE.
	Problems []string `json:"problems"`

	key     *deviceKey
	payload strictjson.Value
}

// Sizes are in bytes, or characters of ASCII text.
type (
	pictureView struct {
		Format string `json:"format"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
		Text   int    `json:"text_size"`
	}
	answerView struct {
		Dispatcher string `json:"dispatcher"`
		Result     string `json:"dispatch_result"`
	}
	linkView struct {
		Base string `json:"base_url"`
		Size int    `json:"size"`
	}
	pushView struct {
		Form  string `json:"form"` // message or data
		Title string `json:"title,omitempty"`
		Body  string `json:"body,omitempty"`
		Size  int    `json:"size"` // as FCM counts
	}
	envelopeView struct {
		ContentType string `json:"nma_data_content_type"`
		Version     string `json:"nma_data_version"`
		Size        int    `json:"size"`
	}
	jweView struct {
		Header json.RawMessage `json:"protected_header"`
		Alg    string          `json:"-"`
		Enc    string          `json:"-"`
		For    string          `json:"key_type,omitempty"` // as operate.KeyKind names it
		Size   int             `json:"size"`
		Sealed int             `json:"ciphertext_size"`
	}
	keyView struct {
		Type       string `json:"type"`
		Thumbprint string `json:"thumbprint"`
	}
)

// print shows the parts as a table, then the problems.
func (o *opened) print(w io.Writer) error {
	var rows [][]string
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	if v := o.Answer; v != nil {
		row("answer", "%s of dispatcher %s", v.Result, v.Dispatcher)
	}
	if v := o.Picture; v != nil {
		row("picture", "%s, %d x %d pixels, holds %d characters", v.Format, v.Width, v.Height, v.Text)
	}
	if v := o.Link; v != nil {
		row("link", "%d characters", v.Size)
		row("base_url", "%s", v.Base)
	}
	if v := o.Push; v != nil {
		row("push message", "%s, %d bytes as FCM counts", v.Form, v.Size)
		row("title", "%s", v.Title)
		row("body", "%s", v.Body)
	}
	if v := o.Envelope; v != nil {
		row("envelope", "%s, version %s, %d bytes", v.ContentType, v.Version, v.Size)
	}
	if v := o.JWE; v != nil {
		row("JWE", "%d bytes, of which %d ciphertext", v.Size, v.Sealed)
		row("header", "%s", v.Header)
		row("for a key of", "%s", v.For)
	}
	if v := o.Key; v != nil {
		row("private key", "%s, thumbprint %s", v.Type, v.Thumbprint)
	}
	if len(o.Payload) > 0 {
		row("payload", "%d bytes", len(o.payload.Raw()))
		for name, value := range o.payload.Children() {
			row("  "+printable(name), "%s", shownValue(value))
		}
	}
	err := printTable(w, rows)
	for _, problem := range o.Problems {
		_, printErr := fmt.Fprintln(w, "problem:", problem)
		err = errors.Join(err, printErr)
	}
	return err
}

// shownValue is a string as it is, and anything else as JSON.
func shownValue(v strictjson.Value) string {
	if v.Kind() == '"' {
		return v.Text()
	}
	return string(v.Raw())
}

// hideToken replaces the token in what is shown, in whichever letter case its
// name is, and wherever else it stands in the payload.
func (o *opened) hideToken() {
	if len(o.Payload) == 0 {
		return
	}
	token := o.payload.Member("token").Text()
	var edits []strictjson.Edit
	for name, value := range o.payload.Children() {
		if holdsToken(name, value, token) {
			hidden := "(hidden, " + strconv.Itoa(len(value.Text())) + " characters)"
			edits = append(edits, strictjson.Edit{Name: name, Value: strictjson.Quote(hidden)})
		}
	}
	payload, err := strictjson.ParseObject(o.payload.With(edits...))
	if err != nil {
		o.Payload = nil // never: a string took the place of a value
		return
	}
	o.payload, o.Payload = payload, payload.Raw()
}
