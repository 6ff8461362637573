package transfer

import (
	"cmp"
	"maps"
	"slices"
)

// maxListed bounds the lines that a Refusal lists.
const maxListed = 20

// Report says what became of the lines of an import.
type Report struct {
	Lines     int64 `json:"lines"` // read, with blank ones
	Added     int64 `json:"added"`
	Replaced  int64 `json:"replaced"`
	Unchanged int64 `json:"unchanged"` // the store held the same
	Kept      int64 `json:"kept"`      // the store held another, which stays; see Overwrite
	Users     int64 `json:"users"`     // records with the member user, which no store keeps

	// Refused are the lines that were not imported, by a reason from a closed
	// set.
	Refused map[string]Refusal `json:"refused,omitempty"`
}

// Refusal is what was refused for one reason.
type Refusal struct {
	Count int64   `json:"count"`
	Lines []int64 `json:"lines"` // the numbers of the first 20
	Text  string  `json:"text"`  // what is wrong with the first; quotes nothing of it
}

// RefusedLines returns how many lines were not imported.
func (r *Report) RefusedLines() int64 {
	var n int64
	for _, refusal := range r.Refused {
		n += refusal.Count
	}
	return n
}

// Reasons returns the reasons of refusals, the most frequent first.
func (r *Report) Reasons() []string {
	return slices.SortedFunc(maps.Keys(r.Refused), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Refused[b].Count, r.Refused[a].Count), cmp.Compare(a, b))
	})
}

// add counts a line.
func (r *Report) add(l *line) {
	if l.refusal != nil {
		r.refuse(l.number, l.refusal)
		return
	}
	switch l.outcome {
	case added:
		r.Added++
	case replaced:
		r.Replaced++
	case unchanged:
		r.Unchanged++
	case kept:
		r.Kept++
	}
	if l.record.User != nil {
		r.Users++
	}
}

func (r *Report) refuse(number int64, why *refusal) {
	if r.Refused == nil {
		r.Refused = make(map[string]Refusal)
	}
	refusal := r.Refused[why.reason]
	if refusal.Count++; refusal.Count == 1 {
		refusal.Text = why.text
	}
	if len(refusal.Lines) < maxListed {
		refusal.Lines = append(refusal.Lines, number)
	}
	r.Refused[why.reason] = refusal
}
