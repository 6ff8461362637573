// Package assumptions has the list of docs/protocol.md, what is assumed of
// nevisFIDO, and finds out from the shapes of its messages, and from the status
// of its answers to harmless questions, which of it holds.
package assumptions

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
)

// Verdict says whether an assumption holds.
type Verdict string

// The verdicts.
const (
	Holds   Verdict = "holds"
	Fails   Verdict = "does_not_hold"
	NotSeen Verdict = "not_seen"
)

// Finding is what was found out about an assumption.
type Finding struct {
	ID      string   `json:"id"`
	Place   string   `json:"place"`
	Verdict Verdict  `json:"verdict"`
	Seen    []string `json:"seen"` // places and types, statuses; never values
}

// Assumption is a row of docs/protocol.md.
type Assumption struct {
	ID, Place string // as they stand there
	judge     []check
}

// Judge finds out what holds, from what passed and from the statuses of the
// answers to questions.
func Judge(seen *shapes.Set, asked map[string]int) []Finding {
	list := All()
	findings := make([]Finding, 0, len(list))
	for _, a := range list {
		t := &trial{Set: seen, asked: asked, seen: []string{}}
		for _, judge := range a.judge {
			judge(t)
		}
		slices.Sort(t.seen)
		f := Finding{a.ID, a.Place, NotSeen, slices.Compact(t.seen)}
		switch {
		case t.against:
			f.Verdict = Fails
		case t.inFavour:
			f.Verdict = Holds
		}
		findings = append(findings, f)
	}
	return findings
}

// trial gathers what speaks for an assumption and against it.
type trial struct {
	*shapes.Set
	asked    map[string]int
	seen     []string
	inFavour bool
	against  bool
}

// A check looks at one thing that tells.
type check func(*trial)

func (t *trial) note(format string, args ...any) {
	t.seen = append(t.seen, fmt.Sprintf(format, args...))
}

func (t *trial) count(good bool, format string, args ...any) {
	t.note(format, args...)
	t.inFavour, t.against = t.inFavour || good, t.against || !good
}

// fits is a check that nothing but these types stands at a place.
func fits(path string, kinds ...string) check {
	return func(t *trial) {
		if n := t.At(path); n.Count() > 0 {
			t.count(n.Count(kinds...) == n.Count(), "%s: %s", path, n.Kinds())
		}
	}
}

// has is the check fits, and that each object around the place has the member.
func has(path string, kinds ...string) check {
	around, _ := cutLast(path)
	return func(t *trial) {
		objects := t.At(around).Count(shapes.Object, shapes.Object+shapes.InText, shapes.Object+shapes.InBase64)
		if n := t.At(path).Count(); n < objects {
			t.count(false, "%s: missing ×%d", path, objects-n)
		}
		fits(path, kinds...)(t)
	}
}

// cutLast cuts a path before its last member.
func cutLast(path string) (around, name string) {
	i := strings.LastIndex(path, "/")
	return path[:max(i, 0)], path[i+1:]
}

// counted is a check that counts notes in favour or against.
func counted(good bool, beginning string) check {
	return func(t *trial) {
		for note, n := range t.Notes {
			if strings.HasPrefix(note, beginning) {
				t.count(good, "%s ×%d", note, n)
			}
		}
	}
}

// status is a check of the answers to a call: those of a good status count in
// favour, other ones that are no refusals against.
func status(call string, good string) check {
	return func(t *trial) {
		for message, n := range t.Messages {
			code, ok := strings.CutPrefix(message, call+" answer ")
			switch {
			case !ok:
			case strings.HasPrefix(code, good), code[0] == '2', code[0] == '3':
				t.count(strings.HasPrefix(code, good), "%s ×%d", message, n.Count())
			default:
				t.note("%s ×%d", message, n.Count())
			}
		}
	}
}

// answered is a check of the answer to a question. 401 and 403 say nothing.
func answered(question string, good ...int) check {
	return func(t *trial) {
		switch code := t.asked[question]; code {
		case 0:
		case 401, 403:
			t.note("%s: %d", question, code)
		default:
			t.count(slices.Contains(good, code), "%s: %d", question, code)
		}
	}
}

// unsigned is a check that a modification which nobody signed is refused.
func unsigned(t *trial) {
	if code := t.asked[AskModify]; code/100 == 2 {
		t.count(false, "%s: %d", AskModify, code)
	}
}

// same is a check that two questions have the same answer.
func same(one, other string) check {
	return func(t *trial) {
		if a, b := t.asked[one], t.asked[other]; a != 0 && b != 0 {
			t.count(a == b, "%s: %d, %s: %d", one, a, other, b)
		}
	}
}

// looseKey is a check that a registration in which there is a key has a target.
func looseKey(t *trial) {
	const context = "registration request/context"
	if t.inFavour {
		return
	}
	t.At(context).Walk(context, func(path string, n *shapes.Node) {
		if n.Count(jwk...) > 0 {
			t.count(false, "%s: %s, and no target", path, n.Kinds())
		}
	})
}

// keyNames is a check that all keys have documented names.
func keyNames(t *trial) {
	for _, message := range []string{"create_target request", "registration request", "modify_target request"} {
		t.At(message).Walk(message, func(path string, n *shapes.Node) {
			if _, name := cutLast(path); n.Count(jwk...) > 0 {
				t.count(name == "encryptionKey" || name == "signatureKey", "%s: %s", path, n.Kinds())
			}
		})
	}
}

// dispatched is a check that what was dispatched has a token.
func dispatched(t *trial) {
	n, tokens := t.At(result).Count(shapes.Constant+"dispatched"), t.At(answer+"/token").Count(text...)
	if n > 0 {
		t.count(tokens >= n, "%s: dispatched ×%d, with token ×%d", result, n, tokens)
	}
}

// notFound is a check that an unknown dispatcher has its own result.
func notFound(t *trial) {
	if n := t.At(result).Count(shapes.Constant + "dispatcherNotFound"); n > 0 {
		t.count(true, "%s: dispatcherNotFound ×%d", result, n)
	}
	switch code := t.asked[AskUnknown]; code { // refused, or the user was not found
	case 0, 200, 401, 403:
	default:
		t.count(false, "%s: %d", AskUnknown, code)
	}
}

// linkForm is a check that the response of a dispatcher link is one.
func linkForm(t *trial) {
	name, n := t.At(answer+"/dispatcherInformation/name"), t.At(response)
	if name.Count(shapes.Constant+"link") > 0 && n.Count() > 0 && n.Count(shapes.Link) == 0 {
		t.count(false, "%s of link: %s", response, n.Kinds())
	}
}

// strict is a check that messages are strict JSON.
func strict(t *trial) {
	for _, message := range slices.Sorted(maps.Keys(t.Messages)) {
		n := t.Messages[message]
		call, rest, _ := strings.Cut(message, " ")
		bad := n.Count(shapes.NotJSON, shapes.Coded, shapes.TooLarge)
		switch {
		case !slices.Contains([]string{"dispatch", "create_target", "query_targets", "registration"}, call),
			rest != "request" && !strings.HasPrefix(rest, "answer 2"):
		case bad > 0:
			t.count(false, "%s: %s", message, n.Kinds())
		case n.Count(shapes.Object) > 0:
			t.count(true, "%s: %s", message, n.Kinds())
		}
	}
}
