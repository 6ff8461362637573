// Package guests registers the guest modules of the product: its dispatchers,
// stores and key sources.
package guests

import (
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
