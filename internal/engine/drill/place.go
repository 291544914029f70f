package drill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/scratch"
)

// place is where a drill restores to: a folder, and a database where the backup
// has one. With a private server the folder is the server's, which is removed
// with it even when this process is killed; another is swept away by the next
// drill.
type place struct {
	dir      string
	database *scratch.Database // nil: the backup has none
	owner    *os.File          // locked while the drill lives, of a folder of its own; nil: it is the server's
	closed   bool
}

func (p *place) root() string  { return filepath.Join(p.dir, "app") }
func (p *place) state() string { return filepath.Join(p.dir, "state") }

const (
	placePrefix = "backstay-drill-"
	ownerName   = "owner"
)

// makePlace starts the private server, or makes a database on the given one, and
// the folder.
func (d *drill) makePlace(ctx context.Context) (_ *place, err error) {
	parent := d.req.Dir
	if parent == "" {
		parent = os.TempDir()
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return nil, err
	}
	if err := d.checkRoom(parent); err != nil {
		return nil, err
	}
	sweep(parent)
	p := &place{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(context.WithoutCancel(ctx)))
		}
	}()
	if m := d.open.Manifest.Database; m != nil {
		end := d.watch.begin("start the database server", true)
		err := d.startDatabase(ctx, p, parent)
		end()
		if err != nil {
			return nil, err
		}
		if p.database.Dir != "" {
			p.dir = p.database.Dir
		}
	}
	if p.dir == "" {
		if p.dir, p.owner, err = ownFolder(parent); err != nil {
			return nil, err
		}
	}
	// PHP runs as the owner of the application's files, who must get there; what
	// is beside them has modes of its own.
	for _, dir := range p.ways() {
		if err := os.Chmod(dir, 0o711); err != nil {
			return nil, err
		}
	}
	return p, os.Mkdir(p.state(), 0o700)
}

// ways are the folders through which the application is reached, and its socket.
func (p *place) ways() []string {
	ways := []string{p.dir}
	if p.database != nil && p.database.Private && filepath.Dir(p.database.Config.Socket) != p.dir {
		ways = append(ways, filepath.Dir(p.database.Config.Socket))
	}
	return ways
}

func (d *drill) startDatabase(ctx context.Context, p *place, parent string) (err error) {
	m := d.open.Manifest.Database
	if d.req.Scratch != nil {
		if p.database, err = scratch.OnServer(ctx, *d.req.Scratch, scratch.Options{For: "drill", Log: d.e.Log}); err != nil {
			return err
		}
		d.out.Place.Server = fmt.Sprintf("%s %s, the configured scratch server", p.database.Server.Vendor, p.database.Server.Version)
		d.noteServer(p.database.Server)
		return nil
	}
	p.database, err = scratch.Private(ctx, scratch.Options{
		Dir: parent, Name: m.Name, Vendor: m.Server.Vendor, Version: m.Server.Version, Collations: []string{m.Collation}, Binary: d.req.Program,
		For: "drill", Memory: d.req.Memory, Log: d.e.Log,
		Args: arguments(m.Server),
	})
	if err != nil {
		return err
	}
	d.out.Place.Private = true
	how := "the installed one that fits best"
	if d.req.Program != "" {
		how = "as configured"
	}
	d.out.Place.Server = fmt.Sprintf("%s %s, private, %s", p.database.Server.Vendor, p.database.Server.Version, how)
	d.noteServer(p.database.Server)
	if err := d.makeDefiners(ctx, p.database); err != nil {
		return err
	}
	// The restore makes the database, as it was.
	c, err := mysql.Connect(ctx, p.database.Config)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "DROP DATABASE "+mysql.QuoteName(p.database.Config.Database))
	return errors.Join(err, c.Close())
}

// arguments let the restore load rows, and treat names of tables as the server
// of origin does. MySQL fixes that when a data folder is made, which it is not.
func arguments(origin core.DatabaseServer) []string {
	args := []string{"--local-infile=1"}
	if origin.Vendor == mysql.MariaDB && origin.LowerCaseTableNames != 0 {
		args = append(args, "--loose-lower-case-table-names=1")
	}
	return args
}

// makeDefiners makes the accounts that the backup's objects run as: without
// them a view could not be read.
func (d *drill) makeDefiners(ctx context.Context, db *scratch.Database) error {
	for _, o := range d.open.Index.Objects {
		at := strings.LastIndex(o.Definer, "@")
		if at < 0 {
			continue
		}
		err := db.MakeDefiner(ctx, unquoteAccount(o.Definer[:at]), unquoteAccount(o.Definer[at+1:]))
		if err != nil && mysql.Number(err) == 0 {
			return err
		}
		if err != nil {
			d.prove(core.Proof{Name: ProofPlan, Outcome: core.ProofNote, Object: o.Kind + " " + o.Name, Message: fmt.Sprintf("its account %s could not be made on the private server: %v", o.Definer, err)})
		}
	}
	return nil
}

func unquoteAccount(part string) string { return strings.Trim(part, "`'\"") }

// noteServer says how the server differs from the one that was captured.
func (d *drill) noteServer(s mysql.Server) {
	was := d.open.Manifest.Database.Server
	switch {
	case was.Vendor != s.Vendor:
		d.prove(core.Proof{Name: ProofPlan, Outcome: core.ProofNote, Object: "database server", Message: fmt.Sprintf("the backup is of %s %s and was restored on %s %s: that it works on its own kind of server is not proven", was.Vendor, was.Version, s.Vendor, s.Version), Hint: "install that server, and name its program in drill.server"})
	case was.Version != s.Version:
		d.prove(core.Proof{Name: ProofPlan, Outcome: core.ProofNote, Object: "database server", Message: fmt.Sprintf("the backup is of %s %s and was restored on %s", was.Vendor, was.Version, s.Version)})
	}
}

// checkRoom sees whether what is to be restored can find room.
func (d *drill) checkRoom(parent string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(parent, &st); err != nil {
		return &core.Error{Code: core.CodeDisk, Op: "measure the disk of " + parent, Err: err, Hint: "drill.dir must be a folder that is there"}
	}
	d.out.Place.FreeBytes = int64(st.Bavail) * st.Bsize
	need := d.req.Record.LogicalBytes
	if d.out.Mode == evidence.DrillSample {
		return nil // how much a sample takes is seen while it is restored
	}
	limit, what := d.out.Place.FreeBytes-reserve, "are free there"
	if d.req.Disk > 0 && d.req.Disk < limit {
		limit, what = d.req.Disk, "may be used (drill.disk)"
	}
	if need > limit {
		return &core.Error{
			Code: core.CodeDisk, Op: "drill app " + d.req.App, Message: fmt.Sprintf("the backup has %d bytes, and %d %s", need, max(0, limit), what),
			Hint: "give a folder on a larger disk in drill.dir, or drill a sample: drill.mode: sample",
		}
	}
	return nil
}

// reserve is what a drill leaves free of the disk, for others.
const reserve = 256 << 20

// guard ends the returned context, with a cause that says so, when the drill
// takes more of the disk than it may.
func (p *place) guard(ctx context.Context, limit int64) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(3 * time.Second)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			if err := p.overflows(limit); err != nil {
				cancel(err)
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

func (p *place) overflows(limit int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return nil // it is gone, which the restore will say better
	}
	if free := int64(st.Bavail) * st.Bsize; free < reserve {
		return &core.Error{
			Code: core.CodeDisk, Op: "drill in " + p.dir, Message: fmt.Sprintf("only %d bytes of the disk are free, and a drill leaves %d to others", free, reserve),
			Hint: "give a folder on a larger disk in drill.dir, or drill a sample: drill.mode: sample",
		}
	}
	if limit <= 0 {
		return nil
	}
	if used := p.used(); used > limit {
		return &core.Error{
			Code: core.CodeDisk, Op: "drill in " + p.dir, Message: fmt.Sprintf("it takes %d bytes, and %d are allowed (drill.disk)", used, limit),
			Hint: "raise drill.disk, or drill a sample: drill.mode: sample",
		}
	}
	return nil
}

// used is how many bytes of the disk the place takes.
func (p *place) used() int64 {
	var n int64
	_ = filepath.WalkDir(p.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint // files come and go while the server works; what is there counts
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// close takes the place away.
func (p *place) close(ctx context.Context) (err error) {
	if p == nil || p.closed {
		return nil
	}
	p.closed = true
	err = p.database.Close(ctx)
	if p.owner != nil {
		err = errors.Join(err, removePlace(p.dir), p.owner.Close())
	}
	return err
}

// cleanUp takes everything away and says what could not be.
func (d *drill) cleanUp(ctx context.Context) []string {
	end := d.watch.begin("clean up", false)
	defer end()
	if err := d.place.close(context.WithoutCancel(ctx)); err != nil {
		d.e.Log.Error("the drill's place could not be removed", "err", err)
		return []string{err.Error()}
	}
	return nil
}

// ownFolder makes and locks a folder.
func ownFolder(parent string) (string, *os.File, error) {
	dir, err := os.MkdirTemp(parent, placePrefix)
	if err != nil {
		return "", nil, &core.Error{Code: core.CodeDisk, Op: "make a folder for the drill", Err: err, Hint: "give another folder in drill.dir"}
	}
	owner, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err == nil {
		err = syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	return dir, owner, err
}

// sweep removes the folders of drills that were killed.
func sweep(parent string) {
	left, err := filepath.Glob(filepath.Join(parent, placePrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			continue
		}
		owner, err := os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue // it is just being made
		}
		if syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = removePlace(dir) // the next drill tries again
		}
		_ = owner.Close() // only opened for its lock
	}
}

// removePlace removes a folder, but not while a file system is mounted inside:
// that would empty it.
func removePlace(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && strings.Contains(string(table), " "+dir+"/") {
		return fmt.Errorf("remove %s: a file system is mounted inside", dir)
	}
	return os.RemoveAll(dir)
}
