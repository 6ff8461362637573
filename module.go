// Package oobdispatch registers every Caddy module of this project. Import it
// for its side effects, as xcaddy does:
//
//	xcaddy build --with github.com/oob-dispatch/oob-dispatch
package oobdispatch

import (
	_ "github.com/oob-dispatch/oob-dispatch/caddymodule"
	_ "github.com/oob-dispatch/oob-dispatch/caddymodule/command"
	_ "github.com/oob-dispatch/oob-dispatch/internal/guests"
)
