// Package books keeps the books of many dispatches with faults, and compares
// them. The product runs as a process of its own, between simulated parties. The
// books are kept by four hands that know nothing of each other:
//
//   - the callers write down what each was answered: status, dispatchResult, the
//     dispatcher that delivered, the token;
//   - the providers (FCM, mail server, SMS gateway, push service, printer and
//     spool folder) write down what they took, before they answer or fail to. A
//     link or QR code is received by the caller, in the answer;
//   - the audit trail, read by "caddy oob explain --json" after "caddy oob audit
//     verify" has found nothing;
//   - the metrics, from the admin endpoint.
//
// A call and its audit line are found by the trace id that the caller chose, a
// line and its receipts by the keyed hash of the token, from which the ids at
// third parties are made (docs/audit.md). The books agree if all of this holds:
//
//  1. Every call that was answered has exactly one audit line, and there is no
//     line without a call. A call without an answer, because the caller left or
//     the connection broke, has one line or none.
//  2. The line has the dispatcher, the dispatchResult and the token that the
//     caller has. A status other than 200 is the line of a failure (README, "What
//     the caller sees").
//  3. Nothing is lost: of each attempt that the line calls delivered, the
//     provider has a receipt, but for a link whose caller left without the
//     answer. "dispatched" has at least one such attempt, everything else none.
//  4. Nothing was delivered behind the caller's back: a receipt more than that
//     needs an attempt whose outcome cannot be known. docs/faults.md names them:
//     the answer did not arrive (connection, timeout), or says that the provider
//     failed (unavailable, internal, deferred), or a letter is uncertain.
//  5. Twice is only what docs/faults.md says: push, web push, webhook and mail
//     after such an attempt, with the same collapse key, Topic, webhook-id or
//     Message-ID. A letter never is.
//  6. Every receipt belongs to a line. Where the phone opens it, with its own
//     key, it reads the token of that line; what arrived at another phone cannot
//     be opened.
//  7. caddy_oob_dispatches_total, _delivery_attempts_total and _fallbacks_total
//     are the sums of the audit lines, label by label, and
//     caddy_oob_audit_failures_total is 0.
package books

import (
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oob-dispatch/oob-dispatch" // the module
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

func TestMain(m *testing.M) {
	if os.Getenv(testservice.ProductVariable) != "" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}
