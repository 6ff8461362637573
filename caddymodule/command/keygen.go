package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Makes keys: of a device for tests, and for sealing the store",
		Example: `  caddy oob keygen device phone.jwk
  caddy oob keygen seal /etc/oob-dispatch/seal.key`,
	}
	group(cmd)
	cmd.AddCommand(keygenDeviceCommand(), keygenSealCommand())
	return cmd
}

func keygenDeviceCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "device <file> [--type <type>]",
		Short: "Makes the key pair of a device, to register and open messages with in tests",
		Long: `
Writes the private key of a device as a JWK to a new file that only its owner
can read, and prints the public one, which a device registers as encryptionKey.
A file that is there is not replaced.

With the private key, caddy oob open shows what was sent to this device. Real
devices make their keys themselves, and never hand out the private ones.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&kind, "type", deviceKinds[0], "Type of the key: "+strings.Join(deviceKinds, ", "))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(deviceKinds, cobra.ShellCompDirectiveNoFileComp)) // never fails: there is the flag
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
		key, err := newDeviceKey(kind)
		if err != nil {
			return err
		}
		private, err := key.private.MarshalJSON()
		if err != nil {
			return fmt.Errorf("encoding the key: %w", err)
		}
		if err := writeSecret(args[0], append(private, '\n')); err != nil {
			return fmt.Errorf("writing the private key: %w", err)
		}
		cmd.PrintErrf("the private key is in %s, its thumbprint is %s; the public key:\n", args[0], key.thumbprint)
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", key.public)
		return err
	})
	return cmd
}

func keygenSealCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "seal <file>",
		Short: "Makes a key for the option seal of a store",
		Long: `
Writes a key of 32 random bytes, in base64, to a new file that only its owner
can read. A file that is there is not replaced. Name the file in the option seal
of the store, give it to every sidecar that uses the store, and keep a copy:
without it the records cannot be read. To replace a key that is in use, see
caddy oob targets reseal --help.`,
		Args: cobra.ExactArgs(1),
		RunE: runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
			var key [kv.KeySize]byte
			rand.Read(key[:])
			if err := writeSecret(args[0], []byte(base64.StdEncoding.EncodeToString(key[:])+"\n")); err != nil {
				return fmt.Errorf("writing the key: %w", err)
			}
			cmd.PrintErrf("the key is in %s\n", args[0])
			return nil
		}),
	}
}

func vapidCommand() *cobra.Command {
	var subject string
	cmd := &cobra.Command{
		Use:   "vapid <file> --subject <url>",
		Short: "Makes the key pair that the option vapid of web_push names",
		Long: `
Writes a VAPID key pair (RFC 8292) to a new file that only its owner can read,
as the option vapid of a web_push dispatcher takes it, and prints the public
key, which the web app subscribes with as applicationServerKey. A file that is
there is not replaced: with another key, all subscriptions have to be made anew.

The subject is how push services reach you: a mailto: or https: URL that is
known on the internet.`,
		Example: `  caddy oob vapid /etc/oob-dispatch/vapid.json --subject mailto:ops@example.com`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&subject, "subject", "", "mailto:<address> or an https URL of the sender")
	_ = cmd.MarkFlagRequired("subject") // never fails: there is the flag
	cmd.RunE = runCommand(func(_ context.Context, cmd *cobra.Command, args []string) error {
		content, err := webpush.NewVAPID(subject)
		if err != nil {
			return fmt.Errorf("--subject %q: %w", subject, err)
		}
		var public struct {
			Key string `json:"publicKey"`
		}
		if err := json.Unmarshal(content, &public); err != nil {
			return fmt.Errorf("reading the key: %w", err)
		}
		if err := writeSecret(args[0], append(content, '\n')); err != nil {
			return fmt.Errorf("writing the key: %w", err)
		}
		cmd.PrintErrf("the key is in %s; applicationServerKey of the app:\n", args[0])
		_, err = fmt.Fprintln(cmd.OutOrStdout(), public.Key)
		return err
	})
	return cmd
}
