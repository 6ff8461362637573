// Package fault is the one engine by which the doubles misbehave on request. A
// [Script] says what goes wrong the next times, a [Fault] is one way in which
// an HTTP answer goes wrong. What only one party can say, such as an error of
// Google's, is made of these in the package of that party.
//
// Faults of a script strike once each, in order. Several times is
//
//	s.Script(slices.Repeat([]fault.Fault{fault.Reset}, 3)...)
package fault

import "sync"

// Script holds the faults of a double by the place at which they strike, such
// as a command of a dialogue. F is the double's kind of fault. The zero value
// holds none. A Script is safe for concurrent use.
type Script[F any] struct {
	mu     sync.Mutex
	once   map[string][]F
	always map[string]F
}

// Add appends faults for the next times at a place, one each.
func (s *Script[F]) Add(place string, faults ...F) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once == nil {
		s.once = map[string][]F{}
	}
	s.once[place] = append(s.once[place], faults...)
}

// Always sets the fault for every time at a place for which Add left none.
func (s *Script[F]) Always(place string, fault F) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.always == nil {
		s.always = map[string]F{}
	}
	s.always[place] = fault
}

// Mend ends what Always set for a place.
func (s *Script[F]) Mend(place string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.always, place)
}

// Next takes the fault that strikes now. Of several places the first that has
// one counts; ok is false where none has.
func (s *Script[F]) Next(places ...string) (fault F, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, place := range places {
		if queue := s.once[place]; len(queue) > 0 {
			s.once[place] = queue[1:]
			return queue[0], true
		}
		if fault, ok = s.always[place]; ok {
			return fault, true
		}
	}
	return fault, false
}
