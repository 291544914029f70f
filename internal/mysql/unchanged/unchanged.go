// Package unchanged proves that a table's rows are those of an earlier backup,
// so that they need not be read again. It is for package dump. It promises
// that what it calls proven is so, by the argument in
// docs/spec/unchanged-tables.md, and to say of every other table what its
// proof lacks: without a complete proof a table is read.
package unchanged

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Version is that of the evidence and of how rows are read: rows that another
// version stored are read again.
const Version = 2

const (
	// margin is how much older than the horizon a change must be. The server
	// gives whole seconds, of which it takes some from a clock that lags.
	margin = 2 * time.Second
	// MaxAge is how long the rows of a table are taken over without being read:
	// a mistake in the proof lives no longer than this.
	MaxAge = 7 * 24 * time.Hour
	// maxDrift is how far the server's clock and ours may have moved against
	// each other between two backups, and driftShare how much of the time
	// between them in addition.
	maxDrift   = time.Minute
	driftShare = 1000
)

// Methods of taking an instant under which no commit is half done.
const (
	BackupStage    = "backup-stage"
	GlobalReadLock = "global-read-lock"
	TableLocks     = "table-locks"
)

// Evidence is what a backup keeps of its instant: database/evidence.json.
type Evidence struct {
	Version int    `json:"version"`
	Method  string `json:"method"` // by which the instant was taken
	Server  Server `json:"server"`
	// Time is the server's clock shortly before the instant, Clock ours; in
	// seconds since 1970.
	Time  int64 `json:"time"`
	Clock int64 `json:"clock"`
	// Horizon is a time of the server's clock: every transaction that ends
	// after the instant began at it or later. 0: not known, Why says why.
	Horizon int64  `json:"horizon,omitempty"`
	Why     string `json:"why,omitempty"`
	// Counters were read before the instant; nil where the server has none.
	Counters *Counters `json:"counters,omitempty"`
	Tables   []Table   `json:"tables"` // by name
}

// Server is what tells one run of one server from any other.
type Server struct {
	Version string `json:"version"`
	Host    string `json:"host"`
	Port    string `json:"port"`
	Folder  string `json:"folder"`
	ID      string `json:"id"`      // server_id
	UID     string `json:"uid"`     // server_uuid or server_uid, where there is one
	Started int64  `json:"started"` // seconds since 1970, by its clock
	// Address is where it was reached, as configured: a clone that was started
	// in the same second is the same in all else.
	Address string `json:"address"`

	// Connection is the number of the connection that asked; a server counts
	// them up. It is no part of the server's identity.
	Connection uint64 `json:"connection"`
}

// Counters count what InnoDB did since its files were made.
type Counters struct {
	// Transactions goes up when a transaction first writes, and again when it
	// commits: while it stands still, no transaction that wrote ends.
	Transactions uint64 `json:"transactions"`
	Log          uint64 `json:"log"` // bytes of redo log
}

// Table is what the server's catalogue says of a table after the instant. An
// empty text stands for what is not known.
type Table struct {
	Name    string `json:"name"`
	Engine  string `json:"engine"`
	Kind    string `json:"kind"`              // TABLE_TYPE
	Options string `json:"options,omitempty"` // CREATE_OPTIONS
	Created string `json:"created,omitempty"` // CREATE_TIME, UTC
	Updated string `json:"updated,omitempty"` // UPDATE_TIME, UTC
	ID      string `json:"id,omitempty"`      // InnoDB's own row of it, with table_id and space
	Stats   string `json:"stats,omitempty"`   // how many rows InnoDB counted as modified, and as there

	// Definition is a sum of the definition that the rows were stored with, but
	// for the next AUTO_INCREMENT value; Child says that it has foreign keys.
	Definition string `json:"definition,omitempty"`
	Child      bool   `json:"child,omitempty"`
	// Read is when its rows were last read, by our clock, in seconds since 1970.
	Read int64 `json:"read,omitempty"`
	// Why says why its rows were read for this backup. Empty: they were not.
	Why string `json:"why,omitempty"`
}

// Proof says of tables whether they changed between two instants.
type Proof struct {
	former, now *Evidence
	why         string // why nothing can be proven
	still       bool   // no transaction committed between the two
	names       map[string]*Table
	namesNow    map[string]*Table
}

// Prove compares the evidence of two instants. former may be nil. after are the
// counters as read after the later instant, nil where the server has none.
func Prove(former, now *Evidence, after *Counters) *Proof {
	p := &Proof{former: former, now: now, names: map[string]*Table{}, namesNow: map[string]*Table{}}
	if p.why = lacks(former, now); p.why != "" {
		return p
	}
	p.still = former.Counters != nil && after != nil && former.Counters.Transactions == after.Transactions
	for i := range former.Tables {
		p.names[former.Tables[i].Name] = &former.Tables[i]
	}
	for i := range now.Tables {
		p.namesNow[now.Tables[i].Name] = &now.Tables[i]
	}
	return p
}

// lacks says what keeps two instants from being compared at all.
func lacks(former, now *Evidence) string {
	if former == nil {
		return "there is no earlier backup to compare with"
	}
	if former.Version != Version || now.Version != Version {
		return "the earlier backup was written by another version"
	}
	if !settled(former.Method) || !settled(now.Method) {
		return "an instant that is taken without a lock may cut through a commit"
	}
	a, b := former.Server, now.Server
	a.Connection, b.Connection = 0, 0
	if a != b || a.Started == 0 {
		return "it is another server, or it was restarted"
	}
	if now.Server.Connection <= former.Server.Connection {
		return "the server has not counted its connections on, so it was put back to an earlier state"
	}
	if f, n := former.Counters, now.Counters; f != nil && n != nil && (n.Transactions < f.Transactions || n.Log < f.Log) {
		return "the server has not counted its transactions on, so it was put back to an earlier state"
	}
	theirs, ours := now.Time-former.Time, now.Clock-former.Clock
	if theirs < 0 || ours < 0 {
		return "a clock was set back"
	}
	if abs(theirs-ours) > int64(maxDrift/time.Second)+max(theirs, ours)/driftShare {
		return "the server's clock or this machine's was set"
	}
	return ""
}

func settled(method string) bool {
	return method == BackupStage || method == GlobalReadLock || method == TableLocks
}

func abs(n int64) int64 { return max(n, -n) }

// Of says why it is not proven that a table's rows are those of the earlier
// instant; "" when it is proven. created is its CREATE_TIME as of the later
// instant, and at that instant by our clock.
func (p *Proof) Of(name, created string, at time.Time) string {
	if p.why != "" {
		return p.why
	}
	a, b := p.names[name], p.namesNow[name]
	switch {
	case a == nil || b == nil:
		return "it was not there at the earlier instant"
	case !strings.EqualFold(a.Engine, "InnoDB") || a.Engine != b.Engine:
		return "nothing tells when a table of engine " + b.Engine + " changed"
	case a.Kind != "BASE TABLE" || a.Kind != b.Kind:
		return "nothing tells when a table of its kind changed"
	case a.Created != b.Created || b.Created != created || created == "":
		return "it was made or altered since"
	case a.Read <= 0 || at.Unix() < a.Read || at.Unix()-a.Read > int64(MaxAge/time.Second):
		return fmt.Sprintf("its rows were last read over %d days ago", int(MaxAge.Hours()/24))
	}
	byTables := p.former.Method == TableLocks || p.now.Method == TableLocks
	if byTables && a.Child {
		// Not every server locks the child whose rows a change of its parent
		// changes, so a lock on tables may be granted within that commit.
		return "another table's change may change it, which table locks do not surely hold off"
	}
	// A machine that was put back to an earlier state may count up to the same
	// number again, but not at the same time. A time that is unknown at both
	// instants counts, because both saw one run of one server at one address.
	if p.still && a.Updated == b.Updated {
		return ""
	}
	return p.byTime(a, b)
}

// Defined says whether a table has the definition that its rows were stored with.
func (p *Proof) Defined(name, definition string) bool {
	t := p.names[name]
	return t != nil && t.Definition == definition && definition != ""
}

// Read says when the rows of a table of the earlier backup were last read.
func (p *Proof) Read(name string) int64 {
	if t := p.names[name]; t != nil {
		return t.Read
	}
	return 0
}

// byTime is the proof for a table of a server on which others changed.
func (p *Proof) byTime(a, b *Table) string {
	switch {
	case p.former.Horizon <= 0:
		return cmp.Or(p.former.Why, "it is not known which transactions were open")
	case strings.Contains(b.Options+a.Options, "partitioned"):
		return "the update time of a partitioned table is not to be relied on"
	case a.ID == "" || b.ID == "":
		return "InnoDB's number of it is not known"
	case a.ID != b.ID:
		return "it was made anew, emptied or imported since"
	case a.Updated == "" || b.Updated == "":
		return "the server does not know any more when it was updated"
	case a.Updated != b.Updated || a.Stats == "" || a.Stats != b.Stats:
		return "it was updated since"
	}
	horizon := p.former.Horizon - int64(margin/time.Second)
	for _, text := range []string{b.Updated, b.Created} {
		at, err := time.Parse(time.DateTime, text)
		if err != nil {
			return "the server's time " + text + " cannot be read"
		}
		if at.Unix() >= horizon {
			return "it was changed shortly before the earlier instant, or while a transaction was open that might change it again"
		}
	}
	return ""
}
