package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// quietLoad is the load average, for each CPU, above which a machine is busy.
const quietLoad = 0.25

// loadAverage returns the load of the last minute.
func loadAverage() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(first, 64)
}

// field returns the value of the first line of a file in /proc that begins with
// name, "" when there is none.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// printFacts says on what machine and with what programs the figures came about.
func (b *bench) printFacts(ctx context.Context, load float64) error {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	kb, err := number(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return err
	}
	model := field("/proc/cpuinfo", "model name")
	if model == "" {
		model = runtime.GOARCH
	}
	fmt.Fprintf(b.out, "- machine: %d × %s, %.0f GB of memory, Linux %s; load average at the start %.2f\n",
		runtime.NumCPU(), model, kb*1024/1e9, strings.TrimSpace(string(kernel)), load)
	fmt.Fprintf(b.out, "- server: %s on the same machine, buffer pool 2 GiB, redo log 1 GiB, syncs every commit\n", b.lab.version)
	for _, with := range b.builds {
		fmt.Fprintf(b.out, "- %s: %s\n", with.name, with.version)
	}
	t := b.tools
	for _, other := range []struct {
		name string
		tool tool
	}{
		{"mariadb-dump", t.dump}, {"mariadb", t.client}, {"zstd", t.zstd}, {"gzip", t.gzip}, {"mydumper", t.mydumper}, {"myloader", t.myloader}, {"restic", t.restic},
	} {
		if other.tool.there() {
			fmt.Fprintf(b.out, "- %s %s\n", other.name, other.tool.version)
		} else {
			fmt.Fprintf(b.out, "- %s is not installed and left out\n", other.name)
		}
	}
	if slices.ContainsFunc([]string{"backup", "repeat", "restore", "archives"}, func(group string) bool { return slices.Contains(b.groups, group) }) {
		if err := b.lab.makeDataset(ctx, b.gb); err != nil {
			return err
		}
		data, keys, err := b.lab.size(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "- database: %s MB of rows and %s MB of keys, as the server counts\n", megabytes(data), megabytes(keys))
	}
	if load > quietLoad*float64(runtime.NumCPU()) {
		fmt.Fprintf(b.out, "\nWarning: the machine was busy when this began (load average %.2f).\n", load)
		b.say("warning: the machine is busy: load average %.2f", load)
	}
	return nil
}

// Bytes of disk that are needed for each byte of database, at most: the database
// and its copy with their keys, and the backups of all contenders. For a file:
// the file, its copy and the repositories.
const (
	diskPerByte    = 3.5
	diskOfArchives = 5.0 // the same, with archives of several kinds
	diskPerFile    = 36_000
	diskOfMillion  = 30e9  // with one repository at a time
	diskForServer  = 1.5e9 // its redo log above all
	millionOfFiles = 1_000_000
)

// diskNeed returns how much free disk the run needs.
func diskNeed(o options) float64 {
	need := 0.0
	for _, group := range o.groups {
		switch group {
		case "memory":
			need = max(need, diskPerByte*1e9*slices.Max(o.sizes))
			if o.million {
				need = max(need, diskOfMillion)
			}
		case "archives":
			need = max(need, diskOfArchives*1e9*o.gb)
		case "files":
			need = max(need, float64(diskPerFile*o.files))
		default:
			need = max(need, diskPerByte*1e9*o.gb)
		}
	}
	return need + diskForServer
}

// checkSpace refuses to begin what would fill the disk.
func checkSpace(o options) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(o.dir, &stat); err != nil {
		return fmt.Errorf("look for free space in %s: %w", o.dir, err)
	}
	free, need := float64(stat.Bavail)*float64(stat.Bsize), diskNeed(o)
	if free < need {
		return fmt.Errorf("%s has %.1f GB free, and up to %.1f GB are needed: choose another folder with -dir, or less with -gb, -sizes, -files", o.dir, free/1e9, need/1e9)
	}
	return nil
}
