package faults

// cell is what one fault of one party does to a dispatch.
type cell struct {
	party, fault string

	answer    string // what the caller gets: a dispatch result, or a status
	delivered int    // messages
	attempts  int    // at a delivery, as the audit line has them
	reason    string // of the audit line; "" for a success; none where there is no line
	change    int    // for stores: what a device gets that changes its target meanwhile
}

// none is the reason of a dispatch of which there is no audit line.
const none = "no line"

// The faults, in the order of the page.
const (
	refused    = "refused"
	resets     = "reset"
	halfClosed = "half-close"
	drips      = "drip"
	hangs      = "hang"
	truncated  = "truncated"
	lying      = "lying length"
	endless    = "endless"
	tooMany    = "429"
	tooManyRA  = "429 with Retry-After"
	failing    = "500"
	doubtful   = "503 although delivered"
	goAway     = "GOAWAY"
	expired    = "expired certificate"
	wrongName  = "certificate for another name"
	unknownCA  = "certificate of an unknown authority"
	dnsFails   = "DNS failure"
	diskFull   = "disk full"
	readOnly   = "read-only"
	vanished   = "vanished"
	emfile     = "EMFILE"
)

// table has every fault that applies to a party. notThere says why the others do
// not.
var table = []cell{
	{"caller", resets, noAnswer, 0, 0, "caller_gone", 0},
	{"caller", halfClosed, "499", 0, 0, "caller_gone", 0},
	{"caller", drips, "400", 0, 0, none, 0},
	{"caller", hangs, "400", 0, 0, none, 0},
	{"caller", truncated, "400", 0, 0, none, 0},
	{"caller", lying, "400", 0, 0, none, 0},
	{"caller", endless, "413", 0, 0, none, 0},
	{"caller", emfile, noAnswer, 0, 0, none, 0},

	{"nevisFIDO", refused, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", resets, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", halfClosed, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", drips, "504", 0, 0, "upstream_timeout", 0},
	{"nevisFIDO", hangs, "504", 0, 0, "upstream_timeout", 0},
	{"nevisFIDO", truncated, noAnswer, 0, 0, "upstream_aborted", 0},
	{"nevisFIDO", lying, noAnswer, 0, 0, "upstream_aborted", 0},
	{"nevisFIDO", endless, "502", 0, 0, "upstream_answer", 0},
	{"nevisFIDO", tooMany, "429", 0, 0, "upstream_status", 0},
	{"nevisFIDO", tooManyRA, "429", 0, 0, "upstream_status", 0},
	{"nevisFIDO", failing, "500", 0, 0, "upstream_status", 0},
	{"nevisFIDO", doubtful, "503", 0, 0, "upstream_status", 0},
	{"nevisFIDO", expired, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", wrongName, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", unknownCA, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", dnsFails, "502", 0, 0, "upstream_unavailable", 0},
	{"nevisFIDO", emfile, "502", 0, 0, "upstream_unavailable", 0},

	{"FCM", refused, "dispatchError", 0, 2, "connection", 0},
	{"FCM", resets, "dispatchError", 0, 2, "connection", 0},
	{"FCM", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"FCM", drips, "dispatchError", 2, 2, "timeout", 0},
	{"FCM", hangs, "dispatchError", 0, 2, "timeout", 0},
	{"FCM", truncated, "dispatchError", 2, 2, "connection", 0},
	{"FCM", lying, "dispatchError", 2, 2, "connection", 0},
	{"FCM", endless, "internalError", 1, 1, "unexpected_answer", 0},
	{"FCM", tooMany, "dispatchError", 0, 1, "quota_exceeded", 0},
	{"FCM", tooManyRA, "dispatchError", 0, 1, "quota_exceeded", 0},
	{"FCM", failing, "dispatchError", 0, 2, "internal", 0},
	{"FCM", doubtful, "dispatchError", 2, 2, "unavailable", 0},
	{"FCM", goAway, "dispatched", 1, 1, "", 0},
	{"FCM", expired, "internalError", 0, 1, "tls", 0},
	{"FCM", wrongName, "internalError", 0, 1, "tls", 0},
	{"FCM", unknownCA, "internalError", 0, 1, "tls", 0},
	{"FCM", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"FCM", emfile, "dispatchError", 0, 2, "connection", 0},

	{"OAuth", refused, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", resets, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", drips, "dispatchError", 0, 2, "timeout", 0},
	{"OAuth", hangs, "dispatchError", 0, 2, "timeout", 0},
	{"OAuth", truncated, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", lying, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", endless, "internalError", 0, 1, "oauth_refused", 0},
	{"OAuth", tooMany, "dispatchError", 0, 2, "oauth_unavailable", 0},
	{"OAuth", tooManyRA, "dispatchError", 0, 1, "oauth_unavailable", 0},
	{"OAuth", failing, "dispatchError", 0, 2, "oauth_unavailable", 0},
	{"OAuth", doubtful, "dispatchError", 0, 2, "oauth_unavailable", 0},
	{"OAuth", goAway, "dispatched", 1, 1, "", 0},
	{"OAuth", expired, "internalError", 0, 1, "tls", 0},
	{"OAuth", wrongName, "internalError", 0, 1, "tls", 0},
	{"OAuth", unknownCA, "internalError", 0, 1, "tls", 0},
	{"OAuth", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"OAuth", emfile, "dispatchError", 0, 2, "connection", 0},

	{"webhook", refused, "dispatchError", 0, 2, "connection", 0},
	{"webhook", resets, "dispatchError", 0, 2, "connection", 0},
	{"webhook", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"webhook", drips, "dispatchError", 2, 2, "timeout", 0},
	{"webhook", hangs, "dispatchError", 0, 2, "timeout", 0},
	{"webhook", truncated, "dispatchError", 2, 2, "connection", 0},
	{"webhook", lying, "dispatched", 1, 1, "", 0},
	{"webhook", endless, "dispatched", 1, 1, "", 0},
	{"webhook", tooMany, "dispatchError", 0, 2, "rate_limited", 0},
	{"webhook", tooManyRA, "dispatchError", 0, 1, "rate_limited", 0},
	{"webhook", failing, "dispatchError", 0, 2, "unavailable", 0},
	{"webhook", doubtful, "dispatchError", 2, 2, "unavailable", 0},
	{"webhook", goAway, "dispatched", 1, 1, "", 0},
	{"webhook", expired, "internalError", 0, 1, "tls", 0},
	{"webhook", wrongName, "internalError", 0, 1, "tls", 0},
	{"webhook", unknownCA, "internalError", 0, 1, "tls", 0},
	{"webhook", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"webhook", emfile, "dispatchError", 0, 2, "connection", 0},

	{"web push", refused, "dispatchError", 0, 2, "connection", 0},
	{"web push", resets, "dispatchError", 0, 2, "connection", 0},
	{"web push", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"web push", drips, "dispatchError", 2, 2, "timeout", 0},
	{"web push", hangs, "dispatchError", 0, 2, "timeout", 0},
	{"web push", truncated, "dispatchError", 2, 2, "connection", 0},
	{"web push", lying, "dispatched", 1, 1, "", 0},
	{"web push", endless, "dispatched", 1, 1, "", 0},
	{"web push", tooMany, "dispatchError", 0, 2, "rate_limited", 0},
	{"web push", tooManyRA, "dispatchError", 0, 1, "rate_limited", 0},
	{"web push", failing, "dispatchError", 0, 2, "unavailable", 0},
	{"web push", doubtful, "dispatchError", 2, 2, "unavailable", 0},
	{"web push", goAway, "dispatched", 1, 1, "", 0},
	{"web push", expired, "internalError", 0, 1, "tls", 0},
	{"web push", wrongName, "internalError", 0, 1, "tls", 0},
	{"web push", unknownCA, "internalError", 0, 1, "tls", 0},
	{"web push", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"web push", emfile, "dispatchError", 0, 2, "connection", 0},

	{"nevisIDM", refused, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", resets, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", halfClosed, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", drips, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", hangs, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", truncated, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", lying, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", endless, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", tooMany, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", tooManyRA, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", failing, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", doubtful, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", goAway, "dispatched", 1, 1, "", 0},
	{"nevisIDM", expired, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", wrongName, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", unknownCA, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", dnsFails, "internalError", 0, 0, "store_unavailable", 0},
	{"nevisIDM", emfile, "internalError", 0, 0, "store_unavailable", 0},

	{"IPP", refused, "dispatchError", 0, 2, "connection", 0},
	{"IPP", resets, "dispatchError", 0, 2, "connection", 0},
	{"IPP", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"IPP", drips, "dispatchError", 1, 1, "uncertain", 0},
	{"IPP", hangs, "dispatchError", 0, 1, "uncertain", 0},
	{"IPP", truncated, "dispatchError", 0, 2, "connection", 0},
	{"IPP", lying, "dispatchError", 1, 1, "uncertain", 0},
	{"IPP", endless, "dispatchError", 1, 1, "uncertain", 0},
	{"IPP", tooMany, "dispatchError", 0, 2, "not_ipp", 0},
	{"IPP", tooManyRA, "dispatchError", 0, 1, "not_ipp", 0},
	{"IPP", failing, "dispatchError", 0, 2, "not_ipp", 0},
	{"IPP", doubtful, "dispatchError", 1, 1, "uncertain", 0},
	{"IPP", expired, "internalError", 0, 1, "tls", 0},
	{"IPP", wrongName, "internalError", 0, 1, "tls", 0},
	{"IPP", unknownCA, "internalError", 0, 1, "tls", 0},
	{"IPP", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"IPP", emfile, "dispatchError", 0, 2, "connection", 0},

	{"SMTP", refused, "dispatchError", 0, 2, "connection", 0},
	{"SMTP", resets, "dispatchError", 0, 2, "connection", 0},
	{"SMTP", halfClosed, "dispatchError", 0, 2, "connection", 0},
	{"SMTP", drips, "dispatchError", 0, 2, "timeout", 0},
	{"SMTP", hangs, "dispatchError", 0, 2, "timeout", 0},
	{"SMTP", truncated, "dispatchError", 0, 2, "connection", 0},
	{"SMTP", endless, "internalError", 0, 1, "protocol", 0},
	{"SMTP", tooMany, "dispatchError", 0, 2, "deferred", 0},
	{"SMTP", failing, "dispatchError", 0, 1, "sender_rejected", 0},
	{"SMTP", doubtful, "dispatchError", 2, 2, "deferred", 0},
	{"SMTP", expired, "internalError", 0, 1, "tls", 0},
	{"SMTP", wrongName, "internalError", 0, 1, "tls", 0},
	{"SMTP", unknownCA, "internalError", 0, 1, "tls", 0},
	{"SMTP", dnsFails, "dispatchError", 0, 2, "connection", 0},
	{"SMTP", emfile, "dispatchError", 0, 2, "connection", 0},

	{"Redis", refused, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", resets, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", halfClosed, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", drips, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", hangs, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", truncated, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", lying, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", endless, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", tooMany, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", failing, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", expired, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", wrongName, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", unknownCA, "internalError", 0, 0, "store_unavailable", 503},
	{"Redis", dnsFails, "internalError", 0, 0, "store_unavailable", 503},

	{"file storage", refused, "internalError", 0, 0, "store_unavailable", 503},
	{"file storage", hangs, "internalError", 0, 0, "store_unavailable", 503},
	{"file storage", truncated, "internalError", 0, 0, "store_unavailable", 503},
	{"file storage", diskFull, "dispatched", 1, 1, "", 503},
	{"file storage", readOnly, "dispatched", 1, 1, "", 503},
	{"file storage", vanished, "internalError", 0, 0, "store_unavailable", 503},
	{"file storage", emfile, "internalError", 0, 0, "store_unavailable", 503},
}

// notThere says in a word why a fault does not apply to a party.
var notThere = map[string]map[string][]string{
	"caller":       {"client": {refused, tooMany, tooManyRA, failing, doubtful, goAway, expired, wrongName, unknownCA, dnsFails}, "network": disk},
	"nevisFIDO":    {"HTTP/1.1": {goAway}, "network": disk},
	"FCM":          {"network": disk},
	"OAuth":        {"network": disk},
	"SMTP":         {"lines": {lying}, "HTTP": {tooManyRA, goAway}, "network": disk},
	"webhook":      {"network": disk},
	"web push":     {"network": disk},
	"IPP":          {"HTTP/1.1": {goAway}, "network": disk},
	"Redis":        {"pooled": {emfile}, "read": {doubtful}, "HTTP": {tooManyRA, goAway}, "network": disk},
	"file storage": {"local": {resets, halfClosed, drips, lying, endless, tooMany, tooManyRA, failing, doubtful, goAway, expired, wrongName, unknownCA, dnsFails}},
	"nevisIDM":     {"network": disk},
}

var disk = []string{diskFull, readOnly, vanished}
