// Package oobdispatch registers every Caddy module of this project. Import it
// for its side effects, as xcaddy does:
//
//	xcaddy build --with github.com/oob-dispatch/oob-dispatch
package oobdispatch

import (
	_ "github.com/oob-dispatch/oob-dispatch/caddymodule"
	_ "github.com/oob-dispatch/oob-dispatch/caddymodule/command"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/composite"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/fcm"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/letter"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/link"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/qrcode"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/smtp"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/webhook"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/webpush"
	_ "github.com/oob-dispatch/oob-dispatch/targets/filesource"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/caddystore"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/redisstore"
	_ "github.com/oob-dispatch/oob-dispatch/targets/nevisidm"
)
