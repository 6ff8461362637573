package outbound

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
		return true, once(d, &o.Proxy, "the proxy's URL")
	case "ca":
		return true, once(d, &o.CA, "a file of PEM certificates")
	case "client_cert":
		if o.ClientCert != nil {
			return true, d.Err("client_cert is given twice")
		}
		args := d.RemainingArgs()
		if len(args) != 2 || args[0] == "" || args[1] == "" {
			return true, d.Err("client_cert takes two arguments: the file of the certificate and that of its key")
		}
		o.ClientCert = &ClientCert{Cert: args[0], Key: args[1]}
		return true, nil
	}
	return false, nil
}

func once(d *caddyfile.Dispenser, value *string, what string) error {
	name := d.Val()
	if *value != "" {
		return d.Errf("%s is given twice", name)
	}
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s takes one argument: %s", name, what)
	}
	*value = args[0]
	return nil
}
