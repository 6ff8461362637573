package delivery

import "sync"

// background is work that goes on after the request that began it was answered.
// Unlike a sync.WaitGroup it can be waited for while more begins.
type background struct {
	mu   sync.Mutex
	n    int
	idle sync.Cond // with mu; signals that n fell to 0
}

func newBackground() *background {
	b := new(background)
	b.idle.L = &b.mu
	return b
}

func (b *background) start(work func()) {
	b.add(1)
	go func() {
		defer b.add(-1)
		work()
	}()
}

func (b *background) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n += n; b.n == 0 {
		b.idle.Broadcast()
	}
}

func (b *background) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.n > 0 {
		b.idle.Wait()
	}
}
