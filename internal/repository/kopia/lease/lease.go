// Package lease is the right to maintain a repository, which one process has at
// a time, on whatever machine. It is for package kopia. It promises that a
// process that died keeps nobody out for longer than duration and clockSkew,
// and that one which was taken for dead is told.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// fileName is the file in the repository that says who maintains it. kopia
// ignores names without its suffix.
const fileName = "backstay.lease"

const (
	duration = 15 * time.Minute
	renewal  = time.Minute
	// clockSkew is how far the clocks of two machines may differ before one
	// takes over the other's lease while it is held.
	clockSkew = 5 * time.Minute
)

// holder is the content of the lease file; empty when nobody holds it.
type holder struct {
	Token   string    `json:"token"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
}

// Lease is the right to maintain a repository. It lasts for duration and
// is renewed while it is held, so that the lease of a process that died, on
// whatever machine, is free again after that time.
type Lease struct {
	path  string
	clock core.Clock
	me    holder
	ends  atomic.Int64 // when it does unless it is renewed, in Unix nanoseconds

	stop context.CancelFunc
	done sync.WaitGroup
}

// Options say who takes a lease. Those without a default may not be nil or empty.
type Options struct {
	Clock    core.Clock
	Logger   *slog.Logger
	Hostname string
	Renewal  time.Duration // how often it is renewed; 0: every minute
}

// Take takes the lease of the repository in the folder root, or returns
// core.CodeLocked with the holder. The returned context ends when the lease is
// lost. Release must be called.
func Take(ctx context.Context, root string, opts Options) (context.Context, *Lease, error) {
	const op = "take maintenance lease"
	var token [16]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	now := opts.Clock.Now().UTC()
	l := &Lease{
		path: filepath.Join(root, fileName), clock: opts.Clock,
		me: holder{
			Token: hex.EncodeToString(token[:]), Host: opts.Hostname, PID: os.Getpid(),
			Since: now, Expires: now.Add(duration),
		},
	}
	err := l.update(func(h *holder) (*holder, error) {
		if h != nil && h.Expires.Add(clockSkew).After(now) {
			return nil, &core.Error{
				Code: core.CodeLocked, Op: op,
				Message: fmt.Sprintf("the repository is being maintained by process %d on %s since %s",
					h.PID, h.Host, h.Since.Format(time.RFC3339)),
				Hint: fmt.Sprintf("wait for it; if that process is gone, its lease ends at %s",
					h.Expires.Add(clockSkew).Format(time.RFC3339)),
			}
		}
		if h != nil {
			opts.Logger.WarnContext(ctx, "took over a maintenance lease that was not given back", "host", h.Host, "pid", h.PID, "since", h.Since)
		}
		return &l.me, nil
	})
	if err != nil {
		return nil, nil, err
	}
	l.ends.Store(l.me.Expires.UnixNano())
	every := opts.Renewal
	if every == 0 {
		every = renewal
	}
	held, cancel := context.WithCancelCause(ctx)
	timing, stop := context.WithCancel(held)
	l.stop = stop
	l.done.Go(func() { l.keep(timing, every, cancel) })
	return held, l, nil
}

// keep renews the lease until ctx ends.
func (l *Lease) keep(ctx context.Context, every time.Duration, lost context.CancelCauseFunc) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.renew(); err != nil {
				lost(err)
				return
			}
		}
	}
}

func (l *Lease) renew() error {
	var ends time.Time
	err := l.update(func(h *holder) (*holder, error) {
		if h == nil || h.Token != l.me.Token {
			return nil, &core.Error{
				Code: core.CodeLocked, Op: "renew maintenance lease",
				Message: "another process took the lease over while this one was asleep",
				Hint:    "nothing is lost: the next maintenance does the rest",
			}
		}
		ends = l.clock.Now().UTC().Add(duration)
		h.Expires = ends
		return h, nil
	})
	if err == nil {
		l.ends.Store(ends.UnixNano())
	}
	return err
}

// Held returns nil while nobody else can have the lease: a process that was
// asleep for long learns it from here before its context tells it.
func (l *Lease) Held() error {
	if ends := time.Unix(0, l.ends.Load()); l.clock.Now().After(ends) {
		return &core.Error{
			Code: core.CodeLocked, Op: "hold maintenance lease",
			Message: fmt.Sprintf("the lease ended at %s, before it could be renewed", ends.UTC().Format(time.RFC3339)),
			Hint:    "nothing is lost: the next maintenance does the rest",
		}
	}
	return nil
}

// Release gives the lease back.
func (l *Lease) Release() error {
	l.stop()
	l.done.Wait()
	return l.update(func(h *holder) (*holder, error) {
		if h != nil && h.Token != l.me.Token {
			return h, nil // taken over; not ours to end
		}
		return nil, nil
	})
}

// update changes the lease file under an exclusive lock. The file is never
// removed or replaced, so that the lock is always on the one file; a content
// that cannot be read (a crash while writing) counts as no holder once it is
// older than a lease.
func (l *Lease) update(change func(*holder) (*holder, error)) (err error) {
	const op = "take maintenance lease"
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // Close ends the lock
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return &core.Error{
				Code: core.CodeDisk, Op: op, Err: err,
				Message: fmt.Sprintf("%s is on a file system that does not lock files", l.path),
				Hint:    "maintain the repository from the machine that has its disk",
			}
		}
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	var current *holder
	if len(raw) > 0 {
		current = &holder{}
		if json.Unmarshal(raw, current) != nil {
			fi, err := f.Stat()
			if err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
			current = &holder{Host: "an unknown host", Since: fi.ModTime(), Expires: fi.ModTime().Add(duration)}
		}
	}
	next, err := change(current)
	if err != nil {
		return err
	}
	content := []byte{}
	if next != nil {
		if content, err = json.Marshal(next); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	_, err = f.WriteAt(content, 0)
	if err := errors.Join(err, f.Truncate(int64(len(content))), f.Sync()); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
