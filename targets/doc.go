// Package targets keeps what the sidecar knows of dispatch targets: whose key,
// which address. It defines the record and the contracts of the stores and key
// sources that hold it, and it learns, changes and forgets targets as callers
// have nevisFIDO create, change and delete them. It does not depend on Caddy;
// each store and each source is a guest module in a package below this one.
//
// # The protocol
//
// nevisFIDO owns the targets; the record is a copy that is used to seal and to
// address messages. Two invariants hold at every moment, for any number of
// processes on one store, and wherever one of them is killed:
//
//   - No message goes to a key or an address that nevisFIDO had replaced when the
//     dispatch looked its target up: each member of a record agrees with nevisFIDO,
//     or is unsure, or there is no record. Nothing is sent that takes a member which
//     is unsure.
//   - A target becomes usable again with the next change that nevisFIDO answers
//     clearly and that brings the members in question, with a registration, or
//     from a live key source.
//
// docs/model.md says under which assumptions; package model checks it.
//
// A record has a fence while nevisFIDO is asked for changes of the target, the
// members that are unsure because nevisFIDO may hold other values, and the
// address that is gone, if one is. Its state is computed from these. Every step
// is one atomic swap of one record:
//
//  1. Begin puts the change and the members that it brings into the fence. Only
//     then is the request forwarded; if the swap fails, it is not. A change
//     whose signature does not verify gets no fence: nevisFIDO cannot accept it
//     unless our key is outdated, and anybody could disable a target so.
//  2. Finish takes the change out of the fence. A 4xx leaves the record as it
//     was, but for the name of one of our dispatchers, which nevisFIDO does not
//     know (Change.ApplyDispatcher). A 2xx applies the change and makes its
//     members sure. Anything else makes them unsure.
//
// A process that dies between the two leaves its change in the fence. After
// twice ChangeTime nevisFIDO cannot be working on it any more; the next change
// takes it out, and the fence's members become unsure.
//
// Within a process one change of a target waits for the other. Changes of
// several processes that overlap share one fence. Nobody knows in which order
// nevisFIDO makes them, so what any of them brings is unsure unless it is
// refused. The same holds where a change finds that its fence is gone, and for
// what nevisFIDO accepts although there was no fence.
//
// What nevisFIDO has done and the store does not take stands in the process
// (Unsynced) until the store takes it: it is part of every record that the
// process reads, and it is written by every swap and by Directory.Run. The same
// loop records the outcomes of changes that could not be recorded, and takes out
// the fences of changes that were never forwarded, should they reach the store
// late. All of that is bounded; where there is no room left, new targets are
// refused before nevisFIDO is asked. It is lost with the process.
//
// Two things are not known to other processes: a created target, while it waits
// in one; and, from the moment when nevisFIDO accepts a device call that does not
// verify with our signature key to the moment when its answer is recorded, that
// the targets of that user have changed.
package targets
