package httpclient

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/option"
)

// UnmarshalOption reads the option that the dispenser is at into o, and
// reports whether it is one of these:
//
//	proxy       <url>
//	ca          <file>
//	client_cert <cert_file> <key_file>
//
// Errors do not quote the arguments: a proxy's URL may hold a password.
func UnmarshalOption(o *Options, d *caddyfile.Dispenser) (bool, error) {
	switch d.Val() {
	case "proxy":
		return true, option.Checked(d, &o.Proxy, "one argument: the proxy's URL", checkProxy)
	case "ca":
		return true, option.Path(d, &o.CA, "one argument: a file of PEM certificates")
	case "client_cert":
		return true, unmarshalClientCert(o, d)
	}
	return false, nil
}

func unmarshalClientCert(o *Options, d *caddyfile.Dispenser) error {
	if o.ClientCert != nil {
		return d.Err("client_cert is given twice")
	}
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" || args[1] == "" {
		return d.Err("client_cert takes two arguments: the file of the certificate and that of its key")
	}
	o.ClientCert = &ClientCert{Cert: args[0], Key: args[1]}
	if err := o.ClientCert.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// UnmarshalBlock reads a block of options of which each may stand once: those
// of UnmarshalOption into o, and the others, which the dispenser is at then,
// with option.
func UnmarshalBlock(o *Options, d *caddyfile.Dispenser, option func(*caddyfile.Dispenser) error) error {
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		if ours, err := UnmarshalOption(o, d); ours {
			if err != nil {
				return err
			}
			continue
		}
		if seen[d.Val()] {
			return d.Errf("%s is given twice", d.Val())
		}
		seen[d.Val()] = true
		if err := option(d); err != nil {
			return err
		}
	}
	return nil
}
