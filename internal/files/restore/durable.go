package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/durable"
)

const (
	// batchFiles and batchBytes are how much is written before it is brought to
	// disk. Larger ones hardly make it faster (docs/adr/0006-durable-restores.md).
	batchFiles = 1024
	batchBytes = 64 << 20
)

// disk is a file system that is restored to.
type disk struct {
	// fd is a folder of it that was opened before anything was written: the kernel
	// reports to it every write that failed since then.
	fd    int
	whole bool // it is brought to disk as a whole; else file by file and folder by folder

	folders int // that are synced; guarded by restore.mu
}

// diskOf returns the file system of an open folder. Only the walk calls it.
func (o *restore) diskOf(f *openFolder) (*disk, error) {
	if f.parent != nil && f.parent.dev == f.dev {
		return f.parent.disk, nil
	}
	if d := o.disks[f.dev]; d != nil {
		return d, nil
	}
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, writeFailed("open folder", f.real, err)
	}
	d := &disk{fd: fd, whole: o.sync.Trusted(fd)}
	o.disks[f.dev] = d
	return d, nil
}

// written is a file that has its content and attributes under its temporary
// name, and is not on disk yet.
type written struct {
	job  writeJob
	real string
	temp string
	fd   int
	sum  uint64 // of the content, when it is to be read back
}

// keep puts a written file into the batch, and settles the batch when it is full.
func (w *fileWriter) keep(f written) {
	o := w.o
	if !f.job.in.disk.whole || f.job.link != nil { // the walk may be waiting for it
		w.settle([]written{f})
		return
	}
	o.mu.Lock()
	o.batch = append(o.batch, f)
	o.batched += f.job.entry.Object.Size
	var full []written
	if len(o.batch) >= o.batchFiles || o.batched >= batchBytes {
		full, o.batch, o.batched = o.batch, nil, 0
	}
	o.mu.Unlock()
	w.settle(full)
}

// settle brings files to disk and then moves them to their names. After a
// failure it removes them.
func (w *fileWriter) settle(batch []written) {
	o := w.o
	err := o.ctx.Err()
	if err == nil {
		err = o.bringToDisk(batch)
	}
	for _, f := range batch {
		if err == nil {
			err = o.ctx.Err()
		}
		if err == nil && o.opt.Verify {
			err = w.verify(f)
		}
		if cerr := unix.Close(f.fd); err == nil && cerr != nil {
			err = writeFailed("write", f.real, cerr)
		}
		if err == nil {
			err = o.replace(f.job.in, f.temp, f.job.name)
		}
		if err == nil {
			o.mu.Lock()
			o.result.Files++
			o.result.Bytes += f.job.entry.Object.Size
			o.mu.Unlock()
			if f.job.link != nil {
				f.job.link.ok = true
			}
		} else {
			o.fail(discard(f.job.in, f.temp, err))
		}
		o.finished(f.job)
	}
}

// bringToDisk syncs the contents of files: each by itself when they are few.
func (o *restore) bringToDisk(batch []written) error {
	many := map[*disk]int{}
	for _, f := range batch {
		many[f.job.in.disk]++
	}
	for d, n := range many {
		if !d.whole || n < durable.Singly {
			continue
		}
		if err := o.sync.Disk(d.fd); err != nil {
			return o.blame(batch, d, err)
		}
	}
	for _, f := range batch {
		if d := f.job.in.disk; d.whole && many[d] >= durable.Singly {
			continue
		}
		if err := o.sync.File(f.fd); err != nil {
			return writeFailed("sync", f.real, err)
		}
	}
	return nil
}

// blame finds the file that could not be brought to disk: each has kept its
// own error. Where none has, it is the file system's.
func (o *restore) blame(batch []written, d *disk, err error) error {
	for _, f := range batch {
		if f.job.in.disk != d {
			continue
		}
		if ferr := o.sync.File(f.fd); ferr != nil {
			return writeFailed("sync", f.real, ferr)
		}
	}
	return writeFailed("sync the file system of", batch[0].job.in.real, err)
}

// folderToDisk syncs a finished folder, now or, when there are many, with its
// file system at the end.
func (o *restore) folderToDisk(f *openFolder) error {
	o.mu.Lock()
	f.disk.folders++
	later := f.disk.whole && f.disk.folders > durable.Singly
	o.mu.Unlock()
	if later {
		return nil
	}
	if err := o.sync.Folder(f.fd); err != nil {
		return writeFailed("sync folder", f.real, err)
	}
	return nil
}

// closeDisks brings to disk what was left for the end, and lets go.
func (o *restore) closeDisks() error {
	var errs []error
	for _, d := range o.disks {
		if o.ctx.Err() == nil && d.whole && d.folders > durable.Singly {
			// The folder too: a journal that gave up says so to whoever syncs a file.
			if err := errors.Join(o.sync.Disk(d.fd), o.sync.Folder(d.fd)); err != nil {
				errs = append(errs, writeFailed("sync the file system of", o.anyTarget(), err))
			}
		}
		if err := unix.Close(d.fd); err != nil {
			errs = append(errs, fmt.Errorf("close target folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// anyTarget names a target where an error says no more than that.
func (o *restore) anyTarget() string {
	name := ""
	for _, t := range o.opt.Targets {
		if name == "" || t < name {
			name = t
		}
	}
	return name
}

// discard removes a temporary file after err, which counts more than a
// failure to do so.
func discard(in *openFolder, temp string, err error) error {
	if rerr := clearTemp(in.fd, temp); rerr != nil {
		return errors.Join(err, fmt.Errorf("remove %s: %w", files.Quote(in.real+"/"+temp), rerr))
	}
	return err
}

// batchLimit is how many files a batch may keep open: each worker can have one
// batch in hand while another fills, and every file keeps its folder open.
func batchLimit(workers int) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return durable.Singly
	}
	return int(min(max(l.Cur/uint64(4*(workers+1)), 1), batchFiles))
}
