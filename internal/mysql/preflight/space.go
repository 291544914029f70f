package preflight

import (
	"cmp"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// local says whether the server's files are this machine's. A server behind a
// forwarded port or in a container is at a loopback address too.
func (a *asker) local() bool {
	if a.cfg.Host != "" && a.cfg.Host != "localhost" && !net.ParseIP(a.cfg.Host).IsLoopback() {
		return false
	}
	host, err := os.Hostname()
	if err != nil || !strings.EqualFold(host, a.vars["hostname"]) {
		return false
	}
	for _, path := range []string{a.vars["socket"], a.vars["datadir"]} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// An empty table of InnoDB takes six pages; keys and the room that pages leave
// make rows larger than they are in a backup.
// Deleted rows leave their room behind, so that what a live table takes for a
// row is believed up to a limit only.
const (
	emptyTable = 6 * usualPage
	growth     = 2
	rowKeys    = 400 // bytes of a row's keys at most, roughly
)

// needs estimates what the tables take: by what those that are there take for
// a row, by their rows in the backup where they are not there.
func (a *asker) needs() int64 {
	live := map[string]LiveTable{}
	for _, t := range a.r.Live {
		live[a.key(t.Name)] = t
	}
	var total int64
	for _, t := range a.tables {
		if t.History != nil {
			t = t.Versions()
		}
		need := growth * t.Bytes
		if now := live[a.key(t.Name)]; now.Rows > 0 && now.Bytes > emptyTable {
			need = min(int64(float64(now.Bytes)/float64(now.Rows)*float64(t.Rows)), need+rowKeys*t.Rows)
		}
		total += max(need, emptyTable)
	}
	return total
}

// free returns the bytes that others than root may still fill below a folder,
// and what the file system is.
func free(folder string) (bytes int64, system unix.Fsid, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, system, false
	}
	return int64(st.Bavail) * int64(st.Bsize), st.Fsid, true
}

// findSpace compares the space that the restored database takes, beside the
// one that is there, with what is free.
func (a *asker) findSpace(context.Context) error {
	const name = "disk-space"
	a.r.NeedsBytes = a.needs()
	folder := a.vars["datadir"]
	if !a.local() {
		a.fine(name, "", "the database takes about %s, beside the one that is there; how much the server has free is not known", size(a.r.NeedsBytes))
		return nil
	}
	if own := filepath.Join(folder, mysql.DiskName(a.name)); a.r.Exists && exists(own) {
		folder = own // may be a link to another disk
	}
	var data unix.Fsid
	var ok bool
	if a.r.FreeBytes, data, ok = free(folder); !ok {
		a.r.FreeBytes = -1
		a.fine(name, folder, "the database takes about %s; how much is free is not known", size(a.r.NeedsBytes))
		return nil
	}
	needs, what := a.r.NeedsBytes, "the database"
	if a.on("log_bin") {
		var rows int64
		for _, t := range a.tables {
			rows += t.Bytes
		}
		log := filepath.Dir(cmp.Or(a.vars["log_bin_basename"], filepath.Join(a.vars["datadir"], "x")))
		if left, system, ok := free(log); ok && system != data {
			a.compare(name, log, "the server's binary log of the restore", rows, left)
		} else {
			needs, what = needs+rows, "the database, with the server's binary log of the restore,"
		}
	}
	a.compare(name, folder, what, needs, a.r.FreeBytes)
	a.r.NeedsBytes = needs

	// Keys are sorted in temporary files.
	temporary := cmp.Or(a.vars["innodb_tmpdir"], strings.SplitN(a.vars["tmpdir"], ":", 2)[0])
	var largest int64
	for _, t := range a.tables {
		largest = max(largest, t.Bytes)
	}
	if left, system, ok := free(temporary); ok && system != data && left < largest {
		a.compare("temporary-space", temporary, "sorting the keys of the largest table", largest, left)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (a *asker) compare(name, folder, what string, needs, left int64) {
	if left < needs {
		a.find(core.FindingDecision, name, folder, "make room there; what backstay kept of the last restore is dropped by: backstay undo APP --drop", "%s takes about %s, and %s are free", what, size(needs), size(left))
		return
	}
	a.fine(name, folder, "%s takes about %s, and %s are free", what, size(needs), size(left))
}
