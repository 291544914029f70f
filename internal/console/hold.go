package console

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
)

const (
	idleClose   = 10 * time.Minute // how long the repository stays open without being asked
	againOpen   = 5 * time.Second  // how long one that could not be opened is not tried again
	openTimeout = time.Minute
)

// held is a repository that is open, and how many use it.
type held struct {
	repository Repository
	of         config.Repository // as it was configured
	users      int
	stale      bool // to be closed when nobody uses it any more
}

// holder keeps the repository open while it is used, and some time after.
type holder struct {
	open  func(ctx context.Context) (Repository, error)
	now   func() time.Time
	shown func(err error) // hears of errors that reach nobody

	mu      sync.Mutex // guards what follows
	current *held
	opening chan struct{} // closed when the opening under way has ended; nil: there is none
	failed  error         // of the last opening
	at      time.Time     // when it failed
	timer   *time.Timer   // closes current
	closed  bool
}

var errClosed = &core.Error{Code: core.CodeCancelled, Op: "open the repository", Message: "the service ends"}

// take returns the open repository of a configuration; the caller must call
// release when it no longer uses it.
func (h *holder) take(ctx context.Context, cfg *config.Config) (r Repository, release func(), err error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, nil, errClosed
		}
		if h.current != nil && h.current.of != cfg.Repository {
			h.retire()
		}
		if k := h.current; k != nil {
			k.users++
			h.timer.Stop()
			h.mu.Unlock()
			return k.repository, func() { h.release(k) }, nil
		}
		if h.failed != nil && h.now().Sub(h.at) < againOpen {
			err := h.failed
			h.mu.Unlock()
			return nil, nil, err
		}
		wait := h.opening
		if wait == nil {
			wait = make(chan struct{})
			h.opening = wait
			go h.begin(wait, cfg)
		}
		h.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// begin opens the repository, whoever waits for it or has gone.
func (h *holder) begin(done chan struct{}, cfg *config.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	r, err := h.open(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(done)
	h.opening, h.failed, h.at = nil, err, h.now()
	if err != nil {
		return
	}
	h.current = &held{repository: r, of: cfg.Repository}
	h.timer = time.AfterFunc(idleClose, h.idle)
	if h.closed {
		h.retire()
	}
}

func (h *holder) release(k *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k.users--
	switch {
	case k.users > 0:
	case k.stale:
		h.closeNow(k)
	default:
		h.timer.Reset(idleClose)
	}
}

// idle closes a repository that nobody has asked for a while.
func (h *holder) idle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil && h.current.users == 0 {
		h.retire()
	}
}

// retire has nobody use the current repository any more. mu is held.
func (h *holder) retire() {
	k := h.current
	if k == nil {
		return
	}
	h.current, k.stale = nil, true
	h.timer.Stop()
	if k.users == 0 {
		h.closeNow(k)
	}
}

func (h *holder) closeNow(k *held) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		if err := k.repository.Close(ctx); err != nil {
			h.shown(err)
		}
	}()
}

func (h *holder) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.retire()
}

// cached keeps an answer that takes long to find out: it is asked for once at a
// time, and an old one is given while a new one is found out.
type cached[T any] struct {
	mu    sync.Mutex // guards what follows
	known bool
	value T
	err   error
	at    time.Time
	busy  chan struct{}
	turn  int // rises with forget: what was begun before it is not kept
}

// get returns what load returned less than fresh ago; or less than stale ago,
// and then has load called for the next who asks. load is not ended with ctx.
func (c *cached[T]) get(ctx context.Context, now func() time.Time, fresh, stale time.Duration, load func(ctx context.Context) (T, error)) (T, error) {
	for {
		c.mu.Lock()
		age := now().Sub(c.at)
		if c.known && age >= 0 && age < fresh {
			defer c.mu.Unlock()
			return c.value, c.err
		}
		if c.busy == nil {
			done, turn := make(chan struct{}), c.turn
			c.busy = done
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
				defer cancel()
				value, err := load(ctx)
				c.mu.Lock()
				defer c.mu.Unlock()
				defer close(done)
				c.busy = nil
				if turn == c.turn {
					c.value, c.err, c.at, c.known = value, err, now(), true
				}
			}()
		}
		if c.known && c.err == nil && age >= 0 && age < stale {
			defer c.mu.Unlock()
			return c.value, nil
		}
		wait := c.busy
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}

// forget has the next who asks get a new answer.
func (c *cached[T]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = false
	c.turn++
}

// recent keeps the answers to the last questions.
type recent[K comparable, T any] struct {
	most int // of their weights together

	mu     sync.Mutex // guards what follows
	order  []K        // the last used last
	values map[K]T
	weight map[K]int
	sum    int
}

func newRecent[K comparable, T any](most int) *recent[K, T] {
	return &recent[K, T]{most: most, values: map[K]T{}, weight: map[K]int{}}
}

func (r *recent[K, T]) get(key K) (value T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, ok = r.values[key]; ok {
		r.touch(key)
	}
	return value, ok
}

// put keeps a value; one that weighs more than all together may is not kept.
func (r *recent[K, T]) put(key K, value T, weight int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if weight > r.most {
		return
	}
	r.drop(key)
	r.values[key], r.weight[key] = value, weight
	r.sum += weight
	r.order = append(r.order, key)
	for r.sum > r.most {
		r.drop(r.order[0])
	}
}

func (r *recent[K, T]) touch(key K) {
	for i, k := range r.order {
		if k == key {
			copy(r.order[i:], r.order[i+1:])
			r.order[len(r.order)-1] = key
			return
		}
	}
}

func (r *recent[K, T]) drop(key K) {
	if _, ok := r.values[key]; !ok {
		return
	}
	r.touch(key)
	r.order = r.order[:len(r.order)-1]
	r.sum -= r.weight[key]
	delete(r.values, key)
	delete(r.weight, key)
}

// with calls do with the open repository.
func (c *Console) with(ctx context.Context, do func(Repository) error) error {
	r, release, err := c.hold.take(ctx, c.o.Config())
	if err != nil {
		return err
	}
	defer release()
	err = do(r)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err)
	}
	return err
}
