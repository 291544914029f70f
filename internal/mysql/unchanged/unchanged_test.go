package unchanged

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql"
)

const (
	day     = 24 * 60 * 60
	instant = 1_790_000_000 // of the earlier backup: 2026-09-21 14:13:20 UTC
)

// instants returns two that show table t unchanged.
func instants() (former, now *Evidence, after *Counters) {
	at := func(n int64) *Evidence {
		return &Evidence{
			Version: Version, Method: BackupStage, Time: n, Clock: n + 7, Horizon: n, Counters: &Counters{Transactions: uint64(n), Log: uint64(n)},
			Server: Server{Version: "10.11", Host: "db", Port: "3306", Folder: "/data/", ID: "1", UID: "u", Started: instant - day, Address: "db:3306", Connection: uint64(n)},
			Tables: []Table{{
				Name: "t", Engine: "InnoDB", Kind: "BASE TABLE", Created: "2026-09-01 10:00:00", Updated: "2026-09-20 10:00:00",
				ID: "18 shop/t 33 5", Stats: "3 100", Read: instant - 10,
			}},
		}
	}
	now = at(instant + day)
	return at(instant), now, now.Counters
}

// TestProof takes each piece of the proof away in turn: then there is none.
func TestProof(t *testing.T) {
	created := "2026-09-01 10:00:00"
	later := time.Unix(instant+day, 0)
	a, b, after := instants()
	if why := Prove(a, b, after).Of("t", created, later); why != "" {
		t.Fatalf("not proven: %s", why)
	}
	still := func(a, b *Evidence, after *Counters) { *after = *a.Counters; a.Horizon = 0 }
	a, b, after = instants()
	still(a, b, after)
	if why := Prove(a, b, after).Of("t", created, later); why != "" {
		t.Fatalf("not proven though no transaction ended: %s", why)
	}
	unknown := func(change func(a, b *Evidence)) func(a, b *Evidence) {
		return func(a, b *Evidence) {
			a.Tables[0].Updated, b.Tables[0].Updated = "", ""
			change(a, b)
		}
	}
	a, b, after = instants()
	still(a, b, after)
	unknown(func(_, _ *Evidence) {})(a, b)
	if why := Prove(a, b, after).Of("t", created, later); why != "" {
		t.Fatalf("not proven though no transaction ended and no update is known: %s", why)
	}
	either := map[string]func(a, b *Evidence){
		"another version":            func(a, _ *Evidence) { a.Version++ },
		"taken without a lock":       func(a, _ *Evidence) { a.Method = "single-transaction" },
		"without a lock":             func(_, b *Evidence) { b.Method = "" },
		"another server":             func(_, b *Evidence) { b.Server.Version += "x" },
		"another server, ":           func(_, b *Evidence) { b.Server.Host += "x" },
		"another server, or":         func(_, b *Evidence) { b.Server.Port += "x" },
		"another server, or i":       func(_, b *Evidence) { b.Server.Folder += "x" },
		"another server, or it":      func(_, b *Evidence) { b.Server.ID += "x" },
		"server, or it was":          func(_, b *Evidence) { b.Server.UID += "x" },
		"is another server":          func(_, b *Evidence) { b.Server.Address = "db2:3306" },
		"is another server, or":      unknown(func(_, b *Evidence) { b.Server.Address = "db2:3306" }), // a clone
		"it was restarted":           func(_, b *Evidence) { b.Server.Started++ },
		"or it was restarted":        func(a, b *Evidence) { a.Server.Started, b.Server.Started = 0, 0 },
		"counted its connections on": func(a, b *Evidence) { b.Server.Connection = a.Server.Connection },
		"counted its transactions on": func(a, b *Evidence) {
			b.Counters = &Counters{Transactions: a.Counters.Transactions - 1, Log: b.Counters.Log}
		},
		"its transactions on, so it was": func(a, b *Evidence) {
			b.Counters = &Counters{Transactions: b.Counters.Transactions, Log: a.Counters.Log - 1}
		},
		"a clock was set back":            func(a, b *Evidence) { b.Time = a.Time - 1 },
		"clock was set back":              func(a, b *Evidence) { b.Clock = a.Clock - 1 },
		"clock or this machine's was set": func(_, b *Evidence) { b.Time += 3600 },
		"or this machine's was set":       func(_, b *Evidence) { b.Clock += 3600 },
		"not there at":                    func(a, _ *Evidence) { a.Tables[0].Name = "u" },
		"was not there at":                func(_, b *Evidence) { b.Tables = nil },
		"engine":                          func(a, b *Evidence) { a.Tables[0].Engine, b.Tables[0].Engine = "MyISAM", "MyISAM" },
		"of engine":                       func(a, _ *Evidence) { a.Tables[0].Engine = "Aria" },
		"of its kind":                     func(a, b *Evidence) { a.Tables[0].Kind, b.Tables[0].Kind = "SYSTEM VERSIONED", "SYSTEM VERSIONED" },
		"made or altered since":           func(a, _ *Evidence) { a.Tables[0].Created = "2026-09-01 10:00:01" },
		"made or altered":                 func(a, b *Evidence) { a.Tables[0].Created, b.Tables[0].Created = "x", "x" },
		"last read":                       func(a, _ *Evidence) { a.Tables[0].Read = 0 },
		"rows were last read":             func(a, _ *Evidence) { a.Tables[0].Read = instant - 6*day - 1 },
		"its rows were last read":         func(a, _ *Evidence) { a.Tables[0].Read = instant + day + 1 },
	}
	byTime := map[string]func(a, b *Evidence){
		"no horizon":                func(a, _ *Evidence) { a.Horizon, a.Why = 0, "no horizon" },
		"number of it is not known": func(a, b *Evidence) { a.Tables[0].ID, b.Tables[0].ID = "", "" },
		"emptied or imported":       func(_, b *Evidence) { b.Tables[0].ID = "19 shop/t 33 5" },
		"does not know any more":    func(a, b *Evidence) { a.Tables[0].Updated, b.Tables[0].Updated = "", "" },
		"server does not know any":  func(_, b *Evidence) { b.Tables[0].Updated = "" },
		"updated since":             func(_, b *Evidence) { b.Tables[0].Updated = "2026-09-20 09:59:59" }, // an older transaction ended later
		"was updated since":         func(_, b *Evidence) { b.Tables[0].Stats = "4 100" },
		"it was updated since":      func(a, b *Evidence) { a.Tables[0].Stats, b.Tables[0].Stats = "", "" },
		"partitioned":               func(_, b *Evidence) { b.Tables[0].Options = "row_format=DYNAMIC partitioned" },
		"shortly before the earlier": func(a, b *Evidence) {
			a.Tables[0].Updated, b.Tables[0].Updated = "2026-09-21 14:13:18", "2026-09-21 14:13:18"
		},
		"before the earlier instant": func(a, b *Evidence) { a.Horizon = time.Date(2026, 9, 20, 10, 0, 2, 0, time.UTC).Unix() },
		"cannot be read":             func(a, b *Evidence) { a.Tables[0].Updated, b.Tables[0].Updated = "soon", "soon" },
	}
	try := func(want string, change func(a, b *Evidence), standing bool) {
		t.Helper()
		a, b, after := instants()
		if standing {
			still(a, b, after)
		}
		change(a, b)
		why := Prove(a, b, after).Of("t", created, later)
		if why == "" || !strings.Contains(why, want) {
			t.Errorf("without %q: %q", want, why)
		}
	}
	for want, change := range either {
		try(want, change, false)
		if !strings.Contains(want, "transactions on") { // the counters stand there
			try(want, change, true)
		}
	}
	for want, change := range byTime {
		try(want, change, false)
	}

	a, b, after = instants()
	for _, other := range []string{"2026-09-01 10:00:01", ""} {
		if why := Prove(a, b, after).Of("t", other, later); !strings.Contains(why, "altered") {
			t.Errorf("created %q as of the dump: %q", other, why)
		}
	}
	a.Method, a.Tables[0].Child = TableLocks, true
	if why := Prove(a, b, after).Of("t", created, later); !strings.Contains(why, "another table's change") {
		t.Errorf("a child under table locks: %q", why)
	}
	a.Tables[0].Definition = "d"
	if p := Prove(a, b, after); !p.Defined("t", "d") || p.Defined("t", "e") || p.Defined("u", "d") {
		t.Error("a definition is not told from another")
	}
	a.Tables[0].Definition = ""
	if Prove(a, b, after).Defined("t", "") {
		t.Error("no definition passes for one")
	}
	if why := Prove(nil, b, after).Of("t", created, later); !strings.Contains(why, "no earlier backup") {
		t.Errorf("without an earlier backup: %q", why)
	}
	// The counter of a machine that was put back says nothing by itself.
	a, b, after = instants()
	still(a, b, after)
	b.Tables[0].Updated = "2026-09-21 20:00:00"
	if why := Prove(a, b, after).Of("t", created, later); why == "" {
		t.Error("another update time does not count while the counter stands")
	}
}

// TestHorizon: every open transaction counts, however the server's local time
// makes it look, and no list that may be old.
func TestHorizon(t *testing.T) {
	row := func(thread, started, modified string) mysql.Row {
		return mysql.Row{{Text: thread}, {Text: started}, {Text: modified}, {Text: "SELECT 'mark'"}}
	}
	const now = instant
	own := row("7", "2026-10-25 02:30:00", "0")
	shift := int64(shiftMargin / time.Second)
	for name, c := range map[string]struct {
		rows   []mysql.Row
		steady bool
		want   int64
		why    string
	}{
		"alone":                          {[]mysql.Row{own}, false, now, ""},
		"none":                           {nil, true, 0, oldList},
		"an old list":                    {[]mysql.Row{row("6", "2026-10-25 02:29:00", "0")}, true, 0, oldList},
		"an old list with us in it":      {[]mysql.Row{{{Text: "7"}, {Text: "2026-10-25 02:30:00"}, {Text: "0"}, {Text: "SELECT 'other'"}}}, true, 0, oldList},
		"an older one":                   {[]mysql.Row{row("6", "2026-10-25 02:29:00", "0"), own}, true, now - 60, ""},
		"one that began later":           {[]mysql.Row{row("8", "2026-10-25 02:30:01", "0"), own}, true, now, ""},
		"the oldest counts":              {[]mysql.Row{row("6", "2026-10-25 02:29:00", "0"), own, row("5", "2026-10-25 00:30:00", "0")}, true, now - 7200, ""},
		"older than is known":            {[]mysql.Row{own, row("5", "2026-10-24 02:30:00", "0")}, true, now - day - shift, ""},
		"one from before the clock went": {[]mysql.Row{own, row("6", "2026-10-25 02:59:00", "0")}, false, now - shift, ""},
		"an older one, unsteady":         {[]mysql.Row{row("6", "2026-10-25 02:29:00", "0"), own}, false, now - 60 - shift, ""},
		"prepared and left":              {[]mysql.Row{own, row("0", "2026-10-25 02:29:00", "1")}, true, 0, "a prepared transaction is waiting for its end"},
		"unreadable":                     {[]mysql.Row{own, row("6", "", "0")}, true, 0, "the beginning of a transaction, , cannot be read"},
	} {
		if got, why := horizon(c.rows, "7", "mark", now, c.steady); got != c.want || why != c.why {
			t.Errorf("%s: %d %q, want %d %q", name, got, why, c.want, c.why)
		}
	}
}
