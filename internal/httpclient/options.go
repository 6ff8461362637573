package httpclient

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// Table has the options that all outbound connections share:
//
//	proxy       <url>
//	ca          <file>
//	client_cert <cert_file> <key_file>
//
// NewTransport and NewTLS resolve their placeholders.
var Table = conf.Table[Options]{
	conf.Text("proxy", func(o *Options) *string { return &o.Proxy }, checkProxy),
	conf.Text("ca", func(o *Options) *string { return &o.CA }, func(path string) error { return placeholder.CheckPath("ca", path) }),
	conf.Custom("client_cert", readClientCert, func(o *Options) error {
		if o.ClientCert == nil {
			return nil
		}
		return o.ClientCert.check()
	}),
}

func readClientCert(o *Options, d *caddyfile.Dispenser) error {
	args, err := conf.Values(d, 2, "client_cert takes two arguments: the file of the certificate and that of its key")
	if err != nil {
		return err
	}
	o.ClientCert = &ClientCert{Cert: args[0], Key: args[1]}
	return nil
}
