// Package chaos lets clients work at once with three sidecars, on a Redis with
// two replicas and three Sentinels, in front of one nevisFIDO, while each part is
// killed, stopped, reloaded or replaced, and checks what became of it.
//
// # What is promised
//
// docs/model.md, the package targets and docs/scale.md come down to this:
//
//	A message is sealed with the key, and goes to the address, that nevisFIDO
//	had, both of them, at one moment between the call for the dispatch and the
//	arrival of the request for its token at nevisFIDO.
//
// The moment is that of the look-up. So to its messages a target is a register of
// a key and an address: nevisFIDO writes it, dispatches read it, and the histories
// have to be linearizable. That holds with `replicas` set to the number of all
// replicas, whatever is killed or stands still, while clocks and pauses stay within
// docs/model.md, and while nobody uses a new target through another sidecar than
// the one in which it waits for the store.
//
// Without `replicas` a failover may lose what Redis was told last. Then a member
// may have a value again that nevisFIDO replaced between the last moment at which
// all replicas had everything and the moment at which they follow the new master,
// until a change or a registration brings that member. Nothing older comes back.
//
// # What is recorded
//
// Clients, nevisFIDO and the service behind the webhook are in the process of the
// test, with one monotonic clock. A write begins and ends where nevisFIDO carries
// it out. Whether a client got the answer does not matter to the promise, so that
// calls with an unknown outcome, which are many, need no guess: what nevisFIDO did
// is known. A read is a message that arrived, also where its caller has no answer:
// it holds, sealed, when its dispatch was called for and when nevisFIDO was asked,
// and the key that opens it and the address where it arrived are what was read.
// What was not sent is no operation. Messages that no phone of the target can open,
// or that are in clear, fail the test at once.
//
// # Clocks
//
// The wall clock of a program in Go cannot be shifted from outside: it does not ask
// libc, and Linux has namespaces of the monotonic clock only. So the sidecars are
// the product with one line changed (go build -overlay): the clock of the package
// targets, the only one by which a sidecar judges what another has written, adds a
// variable of the environment. The other clocks of the process, which it compares
// with itself only, and those of the three Redis, which are of one machine, are not
// shifted.
package chaos
