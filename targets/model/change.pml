/*
 * A model of how a change of a dispatch target goes through the sidecars: the
 * protocol of the package targets (doc.go). docs/model.md says what is promised,
 * and under which assumptions. model_test.go has it checked, and replays runs of
 * it against the Go code.
 *
 * There are one target, nevisFIDO, two sidecars and the store that they share.
 * Each step is one atomic swap of the record, or something that nevisFIDO or the
 * world does; a comment names the function that it stands for. What can come
 * between two steps in the code can come between them here.
 *
 * The test defines what happens in a configuration:
 *
 *   CHANGES    requests of the app, 1 or 2, each with one of the KINDS
 *   KINDS      which kinds, a set of the bits below
 *   CRASHES    how many sidecars may die
 *   FAULTS     how many calls of the store may fail, in one of three ways
 *   UNKNOWN    the store does not know the target at first
 *   WAITING    sidecar 0 could not yet write the target when it was created
 *   SOURCE     there is a live key source
 *   DISPATCHES messages to the target, 0 or 1
 *   FAILOVERS  how often the store may go back to what its replica has
 *   APART      the second request comes more than a minute after the first
 *   REPLICAS   a write counts only when the replica has it
 *
 * A BREAK_… takes a guard out of the protocol, or an assumption away: the
 * checker has to find out.
 */

#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef KINDS
#define KINDS (MODIFY | DELETE)
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef FAULTS
#define FAULTS 0
#endif
#ifndef DISPATCHES
#define DISPATCHES 0
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
#ifdef SOURCE
#define SOURCES 1
#else
#define SOURCES 0
#endif

/* Kinds of requests. */
#define MODIFY 1        /* PATCH of the target */
#define DELETE 2        /* DELETE of the target */
#define DEVICE 4        /* PATCH of its device, which does not say what it changes */
#define DEVICE_DELETE 8 /* DELETE of its device */

/* Members of a record. A is the address, and stands for name and dispatcher. */
#define A 1
#define K 2 /* the encryption key */
#define S 4 /* the signature key */
#define E 8 /* whether nevisFIDO still has the target */
#define ALL (A | K | S) /* allMembers */

/* Values of a member: NONE is one that is not known, FIRST that of the beginning,
   and change i brings i+1. NOBODY has signed with a key that is not the target's. */
#define NONE 0
#define FIRST 1
#define NOBODY 7

/* How a call of the store ends. */
#define WORKS 0
#define FAILS 1   /* nothing is written, and an error is reported */
#define WRITTEN 2 /* it is written, and an error is reported */
#define LATE 3    /* an error is reported, and it may be written later */

/* Answers of nevisFIDO. */
#define OPEN 0
#define ACCEPTED 1
#define REFUSED 2
#define UNANSWERED 3

/* What a process does later about a change (Unsynced.outcomes). */
#define NOTHING 0
#define RECORD 1 /* its outcome could not be recorded */
#define UNSENT 2 /* it was not forwarded, and its fence may come late */

/* A record as the store keeps it: targets.Target. */
typedef Record {
	bit there;           /* there is one */
	bit known;           /* more than fence and unsure is known: Created is not zero */
	unsigned a : 2;      /* Address */
	unsigned k : 2;      /* EncryptionKey */
	unsigned s : 2;      /* SignatureKey */
	unsigned fence : 2;  /* Fence.Changes, a bit for each change */
	unsigned members : 4 /* Fence.Members */;
	bit shared;          /* Fence.Shared */
	unsigned unsure : 4; /* Unsure */
	unsigned updated : 3 /* Updated, which tells two writes apart; with SOURCE only */;
};

/* What nevisFIDO holds. */
typedef Upstream {
	bit there;
	unsigned a : 2;
	unsigned k : 2;
	unsigned s : 2;
};

/* A request of the app, and what a sidecar makes of it: targets.Change. */
typedef Request {
	unsigned kind : 4;
	unsigned members : 4; /* that it brings */
	bit side;             /* the sidecar that gets it */
	unsigned signer : 3;  /* the value of the signature key, or NOBODY */
	bit started;
	bit ended;            /* the sidecar has answered the app, or died */
	bit dead;             /* the sidecar died */
	bit forged;
	bit fenced;
	bit doubt;            /* its signature could not be checked: the key was unsure, or not known */
	bit nobody;           /* of a device: no target is concerned */
	bit sent;             /* nevisFIDO has it, and has not decided */
	unsigned answer : 2;
	unsigned later : 2;
	bit old;              /* it began longer ago than fenceTime */
};

Record rec;  /* in the store */
Record n;    /* what a step works on; empty between steps */
Record late; /* a write that may still come: only if nothing was written since */
bit hasLate;
Upstream fido;
Request c[CHANGES + 1]; /* from 1 on */
bit busy[2];    /* a change is under way in a sidecar: Unsynced.changing */
bit waiting[2]; /* a sidecar knows of the target, and the store does not: Unsynced.targets */
byte mode;      /* of the next call of the store */
bit ok;         /* whether the last one worked */
bit wasThere, alone;
byte faults = FAULTS, crashes = CRASHES, failovers = FAILOVERS;
bit disturbed;  /* something died, or was lost with a failover */
unsigned touched : 4; /* members that nevisFIDO was asked to change, and did not refuse */
unsigned tried : 4;   /* members that the app wanted to change */
#if FAILOVERS > 0
Record replica;
#endif
#ifdef SOURCE
Record asked;   /* the record for which a sidecar asks the key source */
Upstream reply; /* of the key source */
#endif

#define bitOf(i) (1 << ((i) - 1))
#define unsure(r, m) (((r.unsure | r.members) & (m)) != 0)
#define stale(r) (r.fence != 0 || r.unsure != 0)
#define empty(r) (!r.known && !stale(r)) /* Target.empty */
#define same(x, y) (x.there == y.there && x.known == y.known && x.a == y.a && x.k == y.k && x.s == y.s && \
	x.fence == y.fence && x.members == y.members && x.shared == y.shared && x.unsure == y.unsure && x.updated == y.updated)

inline copy(to, from) {
	to.there = from.there; to.known = from.known; to.a = from.a; to.k = from.k; to.s = from.s;
	to.fence = from.fence; to.members = from.members; to.shared = from.shared; to.unsure = from.unsure; to.updated = from.updated;
}

inline clear(r) {
	r.there = 0; r.known = 0; r.a = NONE; r.k = NONE; r.s = NONE;
	r.fence = 0; r.members = 0; r.shared = 0; r.unsure = 0; r.updated = 0;
}

inline create(r) {
	r.there = 1; r.known = 1; r.a = FIRST; r.k = FIRST; r.s = FIRST;
	r.fence = 0; r.members = 0; r.shared = 0; r.unsure = 0; r.updated = 0;
}

inline touch(r) {
#ifdef SOURCE
	r.updated = (r.updated + 1) & 7
#else
	skip
#endif
}

/* The promise: what a sidecar takes for sure is what nevisFIDO has. nevisFIDO makes
   no token for a target that it has not. A dispatch looks at single members:
   Target.KeyUnsure, Target.AddressUnsure. */
#define right(r, m, x) (!r.there || unsure(r, m | E) || r.x == NONE || r.x == fido.x)
#define agrees(r) (!fido.there || right(r, A, a) && right(r, K, k) && right(r, S, s))

inline check() {
	assert(agrees(rec));
	assert(!(waiting[0] || waiting[1]) || !fido.there || (fido.a == FIRST && fido.k == FIRST && fido.s == FIRST))
}

/* What a run prints is what the test replays: step, change or sidecar, mode, what else
   is to be known, and the record after it. */
#define tell(event, i, more) printf(#event); printf(" %d %d %d | %d %d %d %d %d %d %d %d %d\n", i, mode, more, rec.there, rec.known, \
	rec.a, rec.k, rec.s, rec.fence, rec.members, rec.shared, rec.unsure)

/* Directory.load and withUnsynced: what a sidecar knows of the target. */
inline see(sidecar) {
	if
	:: waiting[sidecar] -> create(n)
	:: else -> copy(n, rec)
	fi
}

/* The store may fail. */
inline choose() {
	if
	:: mode = WORKS
	:: faults > 0 -> faults--; mode = FAILS
	:: faults > 0 -> faults--; mode = WRITTEN
	:: faults > 0 && !hasLate -> faults--; mode = LATE
	fi
}

/* Directory.swap, kv.Store.Update and kv.Backend.Swap: n is what the record becomes.
   It compares and swaps, and edits anew when another write came first: a write
   takes the place of the others that might still come. */
inline swap(sidecar) {
	if
	:: empty(n) -> clear(n)
	:: else
	fi;
	ok = (mode == WORKS || mode != FAILS && same(n, rec));
	if
	:: mode == FAILS || same(n, rec)
	:: mode == LATE && !same(n, rec) -> copy(late, n); hasLate = 1
	:: (mode == WORKS || mode == WRITTEN) && !same(n, rec) ->
		copy(rec, n);
		hasLate = 0; clear(late);
#if FAILOVERS > 0 && defined(REPLICAS)
		if
		:: mode == WORKS -> copy(replica, rec) /* redisstore.Store.Swap: WAIT */
		:: else
		fi
#endif
	fi;
	if
	:: ok -> waiting[sidecar] = 0 /* Unsynced.written */
	:: else
	fi;
	clear(n)
}

/* Directory.markStale */
inline distrust(more) {
	if
	:: (!n.there || empty(n)) && !SOURCES
	:: else ->
#ifdef BREAK_UPDATED
		if
		:: (n.unsure | (more)) != n.unsure -> touch(n)
		:: else
		fi;
#else
		touch(n);
#endif
		n.there = 1;
		n.unsure = n.unsure | (more);
		n.shared = n.shared || n.fence != 0
	fi
}

byte oldFences, j;

/* request.concerns */
#ifdef BREAK_UNKNOWN
#define concerns(i) (n.there || c[i].kind == MODIFY && (SOURCES || (c[i].members & K) != 0))
#else
#define concerns(i) (n.there || c[i].kind == MODIFY)
#endif

/* Change.fence: request.concerns, Target.dropDead, Target.putFence. */
inline putFence(i) {
	if
	:: c[i].kind == MODIFY -> /* modification.judge */
		c[i].doubt = n.s == NONE || unsure(n, S);
		c[i].forged = !c[i].doubt && c[i].signer != n.s
	:: else
	fi;
#ifdef BREAK_FORGED
	c[i].forged = 0;
#endif
	c[i].fenced = !c[i].forged && concerns(i);
	if
	:: c[i].fenced ->
		n.there = 1;
		oldFences = 0;
		for (j : 1 .. CHANGES) {
			if
#ifndef BREAK_DEAD_STAY
			:: c[j].old -> oldFences = oldFences | bitOf(j)
#endif
			:: else
			fi
		}
		if
		:: (n.fence & oldFences) != 0 ->
#ifndef BREAK_DROP_DEAD
			n.unsure = n.unsure | n.members;
#endif
			n.fence = n.fence & ~oldFences;
			if
			:: n.fence == 0 -> n.members = 0; n.shared = 0
			:: else
			fi
		:: else
		fi;
		n.shared = n.shared || n.fence != 0;
		n.fence = n.fence | bitOf(i);
		n.members = n.members | c[i].members;
		oldFences = 0; j = 0
	:: else
	fi
}

/* modification.takeOver */
inline apply(i) {
	if
	:: !n.known && (c[i].members & K) == 0 -> distrust(c[i].members)
	:: else ->
		n.known = 1;
		if
		:: (c[i].members & A) != 0 -> n.a = i + 1
		:: else
		fi;
		if
		:: (c[i].members & K) != 0 -> n.k = i + 1
		:: else
		fi;
		if
		:: (c[i].members & S) != 0 -> n.s = i + 1
		:: else
		fi;
		n.unsure = n.unsure & ~(c[i].members | E);
		touch(n)
	fi
}

/* Change.settle: Target.takeFence, and what the answer says. */
inline settle(i, outcome, again) {
	wasThere = n.there && (n.fence & bitOf(i)) != 0;
	alone = wasThere && !n.shared;
	if
	:: wasThere ->
		n.fence = n.fence & ~bitOf(i);
		if
		:: n.fence == 0 -> n.members = 0; n.shared = 0
		:: else
		fi
	:: else
	fi;
	if
	:: again && !wasThere || outcome == REFUSED || outcome == UNANSWERED && c[i].forged ||
		!concerns(i)
	:: else ->
		if
		:: outcome == UNANSWERED ->
#ifndef BREAK_UNANSWERED
			distrust(c[i].members)
#else
			skip
#endif
		:: outcome == ACCEPTED && c[i].kind == MODIFY -> /* modification.applyTo, objection */
			if
			:: c[i].forged -> distrust(ALL)
#ifndef BREAK_ALONE
			:: !c[i].forged && !alone -> distrust(c[i].members)
			:: !c[i].forged && alone -> apply(i)
#else
			:: else -> apply(i)
#endif
			fi
		:: outcome == ACCEPTED && (c[i].kind == DELETE || c[i].kind == DEVICE_DELETE) -> clear(n) /* deletion.applyTo, deviceRequest.applyTo */
		:: outcome == ACCEPTED && c[i].kind == DEVICE -> distrust(ALL) /* deviceRequest.applyTo */
		fi
	fi;
	wasThere = 0; alone = 0
}

/* For runs that are replayed: change 2 comes when change 1 is long over. */
#ifdef APART
#define apart(i) (i == 1 || c[1].old)
#else
#define apart(i) true
#endif

/* A request of the app in its sidecar: Exchange.change. */
proctype change(byte i) {
	/* Change.begin waits for the other change of its process. The device signs with the
	   key that nevisFIDO has, or somebody else signs. Deletions are not signed. */
	atomic {
		!busy[c[i].side] && apart(i) -> busy[c[i].side] = 1; c[i].started = 1; tried = tried | c[i].members;
		if
		:: c[i].kind == DELETE
		:: c[i].kind != DELETE -> c[i].signer = fido.s
		:: c[i].kind != DELETE -> c[i].signer = NOBODY
		fi;
		tell(start, i, c[i].signer)
	}

	/* Directory.BeginDevice finds the target that the signature names. */
	if
	:: c[i].dead -> goto end
	:: d_step { !c[i].dead && (c[i].kind & (DEVICE | DEVICE_DELETE)) != 0 ->
		see(c[i].side);
		c[i].nobody = !n.there;
		c[i].doubt = unsure(n, S);
		c[i].forged = n.there && !c[i].doubt && c[i].signer != n.s;
		clear(n);
		tell(look, i, 0) }
	:: !c[i].dead && (c[i].kind & (DEVICE | DEVICE_DELETE)) == 0
	fi;

	/* Directory.BeginModify, BeginDelete, BeginDevice: Change.begin. */
	if
	:: c[i].dead -> goto end
	:: !c[i].dead && (c[i].nobody || c[i].forged) -> ok = 1
	:: atomic { !c[i].dead && !c[i].nobody && !c[i].forged ->
		choose();
		d_step {
			see(c[i].side); putFence(i); swap(c[i].side);
			tell(begin, i, 0); mode = WORKS;
			check()
		}
		if
		:: ok
#ifndef BREAK_FENCE
		:: !ok -> goto back
#else
		:: !ok
#endif
		fi }
	fi;

	/* Exchange.forward: nevisFIDO gets the request, or cannot be connected to (Unsent). */
	atomic {
		if
		:: c[i].dead -> goto end
		:: !c[i].dead -> c[i].sent = 1; tell(send, i, 0)
		:: !c[i].dead -> c[i].answer = REFUSED; tell(unsent, i, 0)
		fi
	}

	/* Change.Finish */
	if
	:: c[i].dead -> goto end
	:: atomic { !c[i].dead && c[i].answer != OPEN ->
		if
		:: c[i].nobody || (c[i].forged && c[i].kind != MODIFY && c[i].answer != ACCEPTED) -> skip /* no targets */
		:: else ->
			choose();
			d_step {
				see(c[i].side); settle(i, c[i].answer, 0); swap(c[i].side)
			}
			if
			:: !ok -> c[i].later = RECORD
			:: ok
			fi
		fi;
		d_step {
			tell(finish, i, 0); mode = WORKS;
			busy[c[i].side] = 0; c[i].ended = 1;
			check()
		} }
	fi;
	goto end;

back: /* Change.takeBack */
	if
	:: c[i].dead -> skip
	:: atomic { !c[i].dead ->
		choose();
		d_step {
			see(c[i].side); settle(i, REFUSED, 0); swap(c[i].side);
			tell(back, i, 0); mode = WORKS;
#ifndef BREAK_TAKE_BACK
			c[i].later = UNSENT;
#endif
			busy[c[i].side] = 0; c[i].ended = 1;
			check()
		} }
	fi;
end:	skip
}

/* nevisFIDO carries a request out, or refuses it, or breaks off without an answer.
   It takes no change with a signature by another key than it has. */
inline decide(i) {
	c[i].sent = 0;
	if
#ifdef BREAK_ORDER
	:: c[i].answer == OPEN -> c[i].answer = UNANSWERED; c[i].sent = 1 /* the connection breaks, and nevisFIDO goes on */
#endif
	:: !fido.there -> c[i].answer = REFUSED
	:: fido.there && c[i].kind != DELETE && c[i].signer != fido.s ->
		if
		:: c[i].answer = REFUSED
		:: c[i].answer = UNANSWERED
		fi
	:: fido.there && (c[i].kind == DELETE || c[i].signer == fido.s) ->
		if
		:: c[i].answer = REFUSED
		:: c[i].answer = UNANSWERED
		:: c[i].answer = UNANSWERED; carryOut(i)
		:: c[i].answer = ACCEPTED; carryOut(i)
		fi
	fi;
	if
	:: c[i].answer != REFUSED && (c[i].signer != NOBODY || c[i].doubt) -> touched = touched | c[i].members
	:: else
	fi
}

inline carryOut(i) {
	if
	:: (c[i].kind & (DELETE | DEVICE_DELETE)) != 0 -> fido.there = 0; fido.a = NONE; fido.k = NONE; fido.s = NONE
	:: else ->
		if
		:: (c[i].members & A) != 0 -> fido.a = i + 1
		:: else
		fi;
		if
		:: (c[i].members & K) != 0 -> fido.k = i + 1
		:: else
		fi;
		if
		:: (c[i].members & S) != 0 && c[i].kind == MODIFY -> fido.s = i + 1
		:: else
		fi
	fi
}


/* Directory.Flush: what is to be recorded about a change. */
inline flush(i) {
	choose();
	d_step {
		see(c[i].side); settle(i, (c[i].later == UNSENT -> REFUSED : c[i].answer), 1); swap(c[i].side);
		if
		:: c[i].later == RECORD && (ok || c[i].old) -> c[i].later = NOTHING
		:: else
		fi;
		tell(flush, i, c[i].later); mode = WORKS;
		check()
	}
}

/* Directory.flush: the target that waits. */
inline sync(sidecar) {
	choose();
	d_step { see(sidecar); swap(sidecar); tell(sync, sidecar, 0); mode = WORKS; check() }
}

#define inFlight(i) (c[i].started && !c[i].ended)

/* A sidecar dies, and another takes its place. What it was asked for and what waits in
   it is lost. */
inline lose(i, sidecar) {
	if
	:: c[i].side == sidecar && inFlight(i) ->
		c[i].dead = 1; c[i].ended = 1;
		if
		:: !c[i].sent -> c[i].answer = OPEN
		:: else
		fi
	:: else
	fi;
	if
	:: c[i].side == sidecar -> c[i].later = NOTHING
	:: else
	fi
}

#define inFlight(i) (c[i].started && !c[i].ended)
inline die(sidecar) {
	d_step {
		crashes--; disturbed = 1; busy[sidecar] = 0; waiting[sidecar] = 0;
		lose(1, sidecar);
#if CHANGES > 1
		lose(2, sidecar);
#endif
		tell(die, sidecar, 0); check()
	}
}

#define toFlush(i) (c[i].later == RECORD || c[i].later == UNSENT && (rec.fence & bitOf(i)) != 0)

#if CHANGES > 1
#define each(f) (f(1) || f(2))
#else
#define each(f) (f(1))
#endif
#define isSent(i) c[i].sent
#define isOpen(i) (!c[i].ended)
#define isYoung(i) (c[i].started && !c[i].old)

/* nevisFIDO, the store, time, and what the sidecars do by themselves. */
proctype world() {
end:
	do
	:: atomic { c[1].sent -> decide(1); tell(decide, 1, c[1].answer); check() }
	:: atomic { toFlush(1) -> flush(1) }
#if CHANGES > 1
	:: atomic { c[2].sent -> decide(2); tell(decide, 2, c[2].answer); check() }
	:: atomic { toFlush(2) -> flush(2) }
#endif
	:: atomic { waiting[0] -> sync(0) }
	:: d_step { hasLate -> copy(rec, late); clear(late); hasLate = 0; tell(land, 0, 0); check() }
	:: d_step { hasLate -> clear(late); hasLate = 0; tell(never, 0, 0) }
	/* The time after which nevisFIDO cannot be working on what began before: fenceTime. */
	:: d_step { each(isYoung) && !each(inFlight) && !each(isSent) ->
		disturbed = disturbed || each(toFlush) || hasLate; /* the store failed for as long */
		c[1].old = c[1].started;
#if CHANGES > 1
		c[2].old = c[2].started;
#endif
		tell(pass, 0, 0) }
	:: crashes > 0 && each(inFlight) -> die(0)
#if CHANGES > 1
	:: crashes > 0 && each(inFlight) -> die(1)
#endif
#if FAILOVERS > 0
	:: d_step { !same(replica, rec) -> copy(replica, rec) }
	:: d_step { failovers > 0 && !same(replica, rec) -> failovers--; disturbed = 1;
		copy(rec, replica); hasLate = 0; clear(late); tell(failover, 0, 0); check() }
#endif
	od
}

#if DISPATCHES > 0
bit found; /* the message has gone out, or does not */

/* A message to the target: Exchange.dispatch. Its key is that of the record which it
   found, if that is sure. */
proctype dispatch(bit sidecar) {
	unsigned key : 2;
	bit token;

	/* Exchange.findTarget, Directory.Find */
	d_step {
		see(sidecar);
		if
		:: n.there && !unsure(n, K | E) -> key = n.k
		:: else
		fi;
		assert(key == NONE || !fido.there || key == fido.k);
		tell(find, sidecar, key)
#ifdef SOURCE
		; if
		:: (!n.there || stale(n)) && (n.fence & ~(c[1].old | c[CHANGES].old << (CHANGES - 1))) == 0 -> copy(asked, n); token = 1 /* to be asked */
		:: else
		fi
#endif
		; clear(n)
	}
#ifdef SOURCE
	if
	:: !token
	:: token ->
		/* Directory.ask */
		d_step { token = 0; reply.there = fido.there; reply.a = fido.a; reply.k = fido.k; reply.s = fido.s; tell(ask, sidecar, reply.there << 6 | reply.a << 4 | reply.k << 2 | reply.s) }
		/* Directory.keep */
		if
		:: !reply.there
		:: atomic { reply.there ->
			choose();
			d_step {
				see(sidecar);
#ifndef BREAK_KEEP
				if
				:: same(n, asked) ->
#else
				if
				:: true ->
#endif
					n.there = 1; n.known = 1; n.a = reply.a; n.k = reply.k; n.s = reply.s;
					n.fence = 0; n.members = 0; n.shared = 0; n.unsure = 0; touch(n)
				:: else
				fi;
				swap(sidecar);
				tell(keep, sidecar, 0); mode = WORKS;
				check()
			} }
		fi
	fi;
	d_step { clear(asked); reply.there = 0; reply.a = NONE; reply.k = NONE; reply.s = NONE; key = NONE }
#endif

	/* Exchange.ask: nevisFIDO makes a token for the target, if it has it. */
	atomic {
		token = fido.there;
		if
		:: token
		:: !token && key != NONE -> /* Exchange.declined, Directory.Drop */
			choose();
			d_step { see(sidecar); clear(n); swap(sidecar); tell(drop, sidecar, 0); mode = WORKS; check() }
		:: !token && key == NONE
		fi
	}
	/* Courier.Deliver: the message is compiled with the key that was found. */
	d_step {
#ifdef STRICT
		assert(key == NONE || !token || !fido.there || key == fido.k);
#endif
		key = NONE; token = 0; found = 1
	}
}
#else
#define found 1
#endif

/* The app repeats its calls in one, after the time after which what began before is
   over. Nothing else happens. */
inline repeat() {
	d_step {
		c[1].old = 1;
#if CHANGES > 1
		c[2].old = 1;
#endif
		/* as if it were the first change, which is over */
		c[1].kind = MODIFY; c[1].members = tried & ALL; c[1].signer = fido.s; c[1].later = NOTHING; c[1].side = 1;
		see(1); putFence(1); swap(1);
		assert(ok && c[1].fenced && !c[1].forged);
		carryOut(1);
		see(1); settle(1, ACCEPTED, 0); swap(1);
		check();
		assert(rec.known && !stale(rec))
	}
}

/* What the app asks for. While sidecar 0 alone knows of the target, it gets all. */
inline arrive(i) {
	if
	:: (KINDS & MODIFY) != 0 ->
		c[i].kind = MODIFY;
		if
		:: c[i].members = A
		:: c[i].members = K
		:: c[i].members = A | K
		:: c[i].members = K | S
		fi
	:: (KINDS & DELETE) != 0 -> c[i].kind = DELETE; c[i].members = E
	:: (KINDS & DEVICE) != 0 -> c[i].kind = DEVICE; c[i].members = ALL
	:: (KINDS & DEVICE_DELETE) != 0 -> c[i].kind = DEVICE_DELETE; c[i].members = E
	fi;
	c[i].side = 0;
#ifndef WAITING
	if
	:: i == 2 -> c[i].side = 1 /* the same as the first one of sidecar 0 */
	:: i == 2 -> c[i].side = 0
	:: i == 1
	fi;
#endif
	tell(arrive, i, c[i].kind << 5 | c[i].members << 1 | c[i].side)
}

init {
	atomic {
		fido.there = 1; fido.a = FIRST; fido.k = FIRST; fido.s = FIRST;
#ifdef WAITING
		waiting[0] = 1; /* Directory.Learn */
		if
		:: true
		:: create(late); hasLate = 1
		:: create(rec)
		fi;
#else
#ifndef UNKNOWN
		create(rec);
#endif
#endif
#if FAILOVERS > 0
		copy(replica, rec);
#endif
		tell(init, 0, hasLate);
		arrive(1);
#if CHANGES > 1
		arrive(2);
#endif
		run world();
#if DISPATCHES > 0
		if
		:: run dispatch(0)
		:: run dispatch(1)
		fi;
#endif
		run change(1);
#if CHANGES > 1
		run change(2)
#endif
	}

	/* All that was asked has ended, the store works, and what waits is written. */
	!each(isOpen) && !each(isSent) && !each(toFlush) && !hasLate && !waiting[0] && !waiting[1] && found ->
	d_step {
		tell(end, 0, 0);
		/* What was not sent, or refused, or forged, has left nothing. */
		assert(disturbed || rec.fence == 0 && (rec.unsure & ~touched) == 0)
	}
	if
	:: fido.there && (rec.known || (tried & K) != 0) -> repeat()
	:: else
	fi
}

