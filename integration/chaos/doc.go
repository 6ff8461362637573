// Package chaos lets clients work at once with three sidecars, on a Redis with
// two replicas and three Sentinels, in front of one nevisFIDO, while each part is
// killed, stopped, reloaded or replaced, and checks what became of it. What is
// promised, and how it is recorded and checked, stands in docs/chaos.md.
//
// Clients, nevisFIDO and the service behind the webhook are in the process of the
// test, with one monotonic clock. Messages that no phone of the target can open, or
// that are in clear, fail the test at once.
package chaos
