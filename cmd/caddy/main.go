// Command caddy is Caddy's standard server with the oob_dispatch module built in.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch"
)

func main() {
	caddycmd.Main()
}
