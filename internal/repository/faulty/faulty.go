// Package faulty makes a repository.Store fail where a test wants it to. It is
// for tests of what stands above the seam: that a full disk, a vanished server
// or a damaged object in the middle of the work leads to a clear error and
// loses nothing. Without faults it promises what the store that it wraps does.
//
// A fault says where, when and what:
//
//	s := faulty.New(inner,
//		faulty.On(faulty.Write).Nth(3).Short(),
//		faulty.On(faulty.Write).AfterBytes(1<<20).DiskFull(),
//		faulty.On(faulty.Read).Of("row data").Flip(),
//		faulty.On(faulty.Commit).Fail(errGone),
//		faulty.On(faulty.List).Block())
//
// To fail at every place once, count the calls of a run without faults with
// Calls, and run again with Nth(1), Nth(2), …
package faulty

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// Op is a place where a fault can be.
type Op string

// The places: methods of the seam.
const (
	Begin     Op = "begin"
	Create    Op = "create"
	Write     Op = "write" // FileWriter.Write
	Finish    Op = "finish"
	CloseFile Op = "close file" // FileWriter.Close
	WriteDir  Op = "write folder"
	Commit    Op = "commit"
	ReadDir   Op = "read folder"
	Open      Op = "open"
	Read      Op = "read" // of an opened file
	Seek      Op = "seek"
	List      Op = "list"
	Delete    Op = "delete"
	Mark      Op = "mark"
	Maintain  Op = "maintain"
	Space     Op = "space"
	Close     Op = "close"
)

// Place says when a fault happens. Without Nth and AfterBytes it does at every
// call from the first.
type Place struct {
	op    Op
	about string
	nth   int
	after int64
}

// On begins a fault at op.
func On(op Op) Place { return Place{op: op} }

// Of limits the fault to calls about something with text in it: the hint of
// Create, Write, Finish and CloseFile, the id of a backup, the id of an object.
func (p Place) Of(text string) Place { p.about = text; return p }

// Nth makes the fault happen at the nth call alone, counted from 1.
func (p Place) Nth(n int) Place { p.nth = n; return p }

// AfterBytes makes the fault happen at each Write or Read that would pass n
// bytes, counted over all files.
func (p Place) AfterBytes(n int64) Place { p.after = n; return p }

// Fault is something that goes wrong.
type Fault struct {
	place Place
	what  action
	err   error
}

type action int

const (
	fail action = iota
	short
	flip
	block
)

// Fail returns err in place of doing the work. A failed Commit ends its
// session without a backup, as the seam says.
func (p Place) Fail(err error) Fault { return Fault{place: p, what: fail, err: err} }

// Damage fails as a store does that found stored bytes changed.
func (p Place) Damage() Fault {
	return p.Fail(repository.StorageError(&core.Error{Code: core.CodeDamage, Op: string(p.op), Message: "the repository is damaged"}))
}

// DiskFull fails as a store does on a full disk.
func (p Place) DiskFull() Fault {
	return p.Fail(repository.StorageError(&core.Error{
		Code: core.CodeDisk, Op: string(p.op), Message: "no space left for the repository", Hint: "free space, then run it again",
		Err: syscall.ENOSPC,
	}))
}

// Gone fails as a store does whose repository cannot be reached.
func (p Place) Gone() Fault {
	return p.Fail(repository.StorageError(&core.Error{
		Code: core.CodeNoRepository, Op: string(p.op), Message: "there is no repository", Hint: "mount its disk",
	}))
}

// Short makes a Write take half and return io.ErrShortWrite, and a Read give
// at most half of what was asked for, without an error.
func (p Place) Short() Fault { return Fault{place: p, what: short, err: io.ErrShortWrite} }

// Flip changes one bit of what a Write stores or a Read gives, and says
// nothing: what a store must never do, to test the checks that do not trust it.
func (p Place) Flip() Fault { return Fault{place: p, what: flip} }

// Block waits until the call's context ends, and returns the context's error.
// Close of a file and Seek have no context of their own: they use that of
// Create and Open.
func (p Place) Block() Fault { return Fault{place: p, what: block} }

// Store is a store with faults. Safe for concurrent use.
type Store struct {
	inner repository.Store

	mu     sync.Mutex
	faults []*armed
	calls  map[Op]int
}

// armed is a fault with what it has seen.
type armed struct {
	Fault
	calls int
	bytes int64
}

var _ repository.Store = (*Store)(nil)

// New wraps inner.
func New(inner repository.Store, faults ...Fault) *Store {
	s := &Store{inner: inner, calls: map[Op]int{}}
	s.Set(faults...)
	return s
}

// Set replaces all faults; those given begin to count now.
func (s *Store) Set(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	for _, f := range faults {
		s.faults = append(s.faults, &armed{Fault: f})
	}
}

// Calls returns how many calls of op there have been.
func (s *Store) Calls(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// hit counts a call of n bytes and returns the first fault that it meets; nil
// for none.
func (s *Store) hit(op Op, about string, n int) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	var met *Fault
	for _, f := range s.faults {
		if f.place.op != op || !strings.Contains(about, f.place.about) {
			continue
		}
		f.calls++
		f.bytes += int64(n)
		if met != nil || (f.place.nth > 0 && f.calls != f.place.nth) || (f.place.after > 0 && f.bytes <= f.place.after) {
			continue
		}
		met = &f.Fault
	}
	return met
}

// before is what a call that moves no bytes does first.
func (s *Store) before(ctx context.Context, op Op, about string) error {
	return s.hit(op, about, 0).stop(ctx, op)
}

// stop blocks or fails where the fault is one that does; nil does neither.
func (f *Fault) stop(ctx context.Context, op Op) error {
	switch {
	case f == nil:
		return nil
	case f.what == block:
		<-ctx.Done()
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case f.what == fail:
		return f.err
	}
	return nil
}
