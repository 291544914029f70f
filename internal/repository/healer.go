package repository

import "context"

// Healer is a store that can be made to store anew what it holds damaged:
// otherwise what is written again is taken for what is there.
type Healer interface {
	// BeginHealing is Begin for a session that shares nothing unread: of what it
	// writes and the store holds already, it reads each part, and stores anew those
	// that cannot be read. All backups that have such a part have it back then.
	// What can be read, and what is not written, stays as it is, also when the
	// session ends without a commit. A part that cannot be read for another reason
	// than damage ends the session.
	BeginHealing(ctx context.Context) (HealingSession, error)
}

// HealingSession is a session of a Healer.
type HealingSession interface {
	Session
	// Healed is how many parts were stored anew so far.
	Healed() int
}
