package reasons

// Passed are the reasons of dispatch calls that went to nevisFIDO as they were:
// caddy_oob_passed_total.
var Passed = []Reason{
	{Name: "upstream_dispatcher", Meaning: "The call names a dispatcher of nevisFIDO's own.", Remedy: ""},
	{Name: "no_dispatcher", Meaning: "The call names no dispatcher, and neither does its target.", Remedy: ""},
	{Name: "unknown_dispatcher", Meaning: "The call names a dispatcher that neither the sidecar nor nevisFIDO by itself has.", Remedy: "Correct the caller, or add the dispatcher."},
	{Name: "misspelt_dispatcher", Meaning: "The name differs from one of the sidecar's in letter case or spaces.", Remedy: "Correct the caller."},
	{Name: "base_path", Meaning: "The call's path is not below `base_path`.", Remedy: "Correct the caller, or `base_path`."},
}

// Targets are the reasons of the events `stale`, `dropped`, `expired` and
// `unidentified` of targets, in audit and log.
var Targets = []Reason{
	{Name: "concurrent", Meaning: "Two changes of the target overlapped, and their order is not known.", Remedy: "The next change heals it."},
	{Name: "damaged", Meaning: "The stored record cannot be read.", Remedy: "Find out who wrote to the storage."},
	{Name: "device_modified", Meaning: "The device service changed the device in a way that does not say what becomes of its targets.", Remedy: "The next change heals it."},
	{Name: "no_id", Meaning: "nevisFIDO's answer has no id of the target that it made.", Remedy: "See docs/protocol.md."},
	{Name: "not_fresh", Meaning: "The device signed the change more than five minutes away from now.", Remedy: "Check the clocks of device and sidecar."},
	{Name: "older", Meaning: "The change is older than one that was applied.", Remedy: "Somebody may have replayed it."},
	{Name: "several_ids", Meaning: "nevisFIDO's answer has several ids.", Remedy: "See docs/protocol.md."},
	{Name: "signature", Meaning: "The signature of the change does not verify, and nevisFIDO accepted it.", Remedy: "See docs/protocol.md; have the device registered again."},
	{Name: "target_id", Meaning: "The signed change names another target than the call.", Remedy: "See docs/protocol.md; have the device registered again."},
	{Name: "too_large", Meaning: "The target does not fit into a record.", Remedy: "Shorten its name and address."},
	{Name: "unanswered", Meaning: "nevisFIDO did not answer the change, or not clearly.", Remedy: "The next change heals it."},
	{Name: "unclear_keys", Meaning: "The change brings keys in a form that can be read in several ways.", Remedy: "See docs/protocol.md; have the device registered again."},
	{Name: "unknown", Meaning: "The target was not known before, or nevisFIDO does not know it any more.", Remedy: "A registration or a key source brings it."},
	{Name: "unreadable", Meaning: "The call that made or changed the target cannot be read.", Remedy: "See docs/protocol.md."},
	{Name: "unreadable_answer", Meaning: "nevisFIDO's answer to a creation or registration cannot be read.", Remedy: "See docs/protocol.md."},
	{Name: "unrecorded", Meaning: "The store did not take the change when it happened.", Remedy: "Mend the store; see OobDispatchUnsyncedTargets in the runbook."},
}

// Keys are the reasons of the events `key_refused` and `signature_key_refused`, in
// audit and log.
var Keys = []Reason{
	{Name: "too_large", Meaning: "The JWK has more than 16 KiB, or its id more than 256 bytes.", Remedy: appKeys},
	{Name: "malformed", Meaning: "It is not one strict JWK object.", Remedy: appKeys},
	{Name: "private_members", Meaning: "It holds private or symmetric key material.", Remedy: "The key is no secret any more: have the device make another."},
	{Name: "unsupported_type", Meaning: "Keys of this `kty` cannot serve the purpose.", Remedy: appKeys},
	{Name: "wrong_use", Meaning: "Its `use` names another purpose.", Remedy: appKeys},
	{Name: "wrong_operations", Meaning: "Its `key_ops` names other purposes only.", Remedy: appKeys},
	{Name: "wrong_algorithm", Meaning: "Its `alg` is not on the list for this key.", Remedy: appKeys},
	{Name: "rsa_size", Meaning: "The modulus is not of 2048, 3072 or 4096 bits, or below `min_rsa_bits`.", Remedy: appKeys},
	{Name: "rsa_exponent", Meaning: "The public exponent is not 65537.", Remedy: appKeys},
	{Name: "rsa_weak_modulus", Meaning: "The modulus can be factored.", Remedy: "The device's random numbers are bad: have another device registered."},
	{Name: "curve", Meaning: "The curve is not P-256, P-384 or P-521.", Remedy: appKeys},
	{Name: "not_on_curve", Meaning: "The coordinates are no point of the curve.", Remedy: "Somebody may be attacking, or the app is broken."},
}

// appKeys is what to do about most keys.
const appKeys = "The app has to make another key; the log's `detail` names the member at fault."

// Credentials are the reasons of the event `credentials_failed`, in addition to
// those of failures by which a third party refuses them.
var Credentials = []Reason{
	{Name: CredentialsFile, Meaning: "A changed credential file cannot be used; the last good one stays in force.", Remedy: "The log line names the file and the fault."},
	{Name: CredentialsExpired, Meaning: "The client certificate is over.", Remedy: "Put a new one in its place; it is used without a reload."},
}

// The reasons of Credentials.
const (
	CredentialsFile    = "file"
	CredentialsExpired = "expired"
)
