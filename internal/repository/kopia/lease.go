package kopia

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// leaseName is the file in the repository that says who maintains it. kopia
// ignores names without its suffix.
const leaseName = "backstay.lease"

const (
	leaseDuration = 15 * time.Minute
	leaseRenewal  = time.Minute
	// clockSkew is how far the clocks of two machines may differ before one
	// takes over the other's lease while it is held.
	clockSkew = 5 * time.Minute
)

// leaseHolder is the content of the lease file; empty when nobody holds it.
type leaseHolder struct {
	Token   string    `json:"token"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
}

// lease is the right to maintain a repository. It lasts for leaseDuration and
// is renewed while it is held, so that the lease of a process that died, on
// whatever machine, is free again after that time.
type lease struct {
	path  string
	clock core.Clock
	me    leaseHolder

	stop context.CancelFunc
	done sync.WaitGroup
}

// takeLease takes the lease, or returns core.CodeLocked with the holder. The
// returned context ends when the lease is lost. release must be called.
func takeLease(ctx context.Context, root string, opts Options) (context.Context, *lease, error) {
	const op = "take maintenance lease"
	var token [16]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	now := opts.Clock.Now().UTC()
	l := &lease{
		path: filepath.Join(root, leaseName), clock: opts.Clock,
		me: leaseHolder{
			Token: hex.EncodeToString(token[:]), Host: opts.Hostname, PID: os.Getpid(),
			Since: now, Expires: now.Add(leaseDuration),
		},
	}
	err := l.update(func(h *leaseHolder) (*leaseHolder, error) {
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
	held, cancel := context.WithCancelCause(ctx)
	timing, stop := context.WithCancel(held)
	l.stop = stop
	l.done.Go(func() { l.keep(timing, cancel) })
	return held, l, nil
}

// keep renews the lease until ctx ends.
func (l *lease) keep(ctx context.Context, lost context.CancelCauseFunc) {
	tick := time.NewTicker(leaseRenewal)
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

func (l *lease) renew() error {
	return l.update(func(h *leaseHolder) (*leaseHolder, error) {
		if h == nil || h.Token != l.me.Token {
			return nil, &core.Error{
				Code: core.CodeLocked, Op: "renew maintenance lease",
				Message: "another process took the lease over while this one was asleep",
			}
		}
		h.Expires = l.clock.Now().UTC().Add(leaseDuration)
		return h, nil
	})
}

// release gives the lease back.
func (l *lease) release() error {
	l.stop()
	l.done.Wait()
	return l.update(func(h *leaseHolder) (*leaseHolder, error) {
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
func (l *lease) update(change func(*leaseHolder) (*leaseHolder, error)) (err error) {
	const op = "take maintenance lease"
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return storageError(op, filepath.Dir(l.path), err)
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
		return storageError(op, filepath.Dir(l.path), err)
	}
	var current *leaseHolder
	if len(raw) > 0 {
		current = &leaseHolder{}
		if json.Unmarshal(raw, current) != nil {
			fi, err := f.Stat()
			if err != nil {
				return storageError(op, filepath.Dir(l.path), err)
			}
			current = &leaseHolder{Host: "an unknown host", Since: fi.ModTime(), Expires: fi.ModTime().Add(leaseDuration)}
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
	return storageError(op, filepath.Dir(l.path), errors.Join(err, f.Truncate(int64(len(content))), f.Sync()))
}
