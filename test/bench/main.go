// Command bench measures backstay against the tools that people use today, on
// one machine, in one run: mariadb-dump, mydumper and the mariadb client on a
// database, restic on files. It is for `make bench`, whose results are in
// docs/performance.md. It promises that every contender is measured in the same
// way, as a whole process with its children, in turn with the others and on a
// server that has come to rest; that a contender that fails is an error and not
// a fast time; and to leave nothing behind, also when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start runs the bench, or one of the parts that it runs as processes of their own.
func start(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case readLimitPart:
			return readLimit(ctx, args[1:], out)
		case treePart:
			return makeTree(args[1:])
		}
	}
	opts, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	return run(ctx, opts, out, progress)
}

// options are the command line.
type options struct {
	builds      []build
	mydumper    string
	restic      string
	dir         string
	gb          float64
	files       int
	rounds      int
	connections int
	sizes       []float64
	million     bool
	groups      []string
}

// defaultSizes are the sizes of group memory, in GB, smallestSize is the least of them.
const (
	defaultSizes = "0.5,2,8"
	smallestSize = 0.5
)

// What is smaller tells nothing of a goal: a process spends its time on starting.
const (
	tellingGB    = 1.0
	tellingFiles = 10_000
)

func groupNames() []string {
	return []string{"backup", "repeat", "restore", "archives", "files", "memory"}
}

func parseOptions(args []string, usage io.Writer) (options, error) {
	var o options
	var only, sizes string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Func("backstay", "`[NAME=]PATH` of a backstay; more than once to compare builds (default bin/backstay)", func(text string) error {
		name, path, named := strings.Cut(text, "=")
		if !named {
			name, path = filepath.Base(text), text
		}
		o.builds = append(o.builds, build{name: name, path: path})
		return nil
	})
	flags.StringVar(&o.mydumper, "mydumper", "", "`path` of mydumper, with myloader beside it (default: from PATH)")
	flags.StringVar(&o.restic, "restic", "", "`path` of restic (default: from PATH)")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`folder` in which a temporary folder for everything is made")
	flags.Float64Var(&o.gb, "gb", referenceGB, "size of the database in `GB`")
	flags.IntVar(&o.files, "files", 100_000, "number of files in the tree")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds, in each of which every contender runs once")
	flags.IntVar(&o.connections, "connections", 2, "connections of mydumper and of the read limit")
	flags.StringVar(&sizes, "sizes", "", "sizes of the databases of group memory in `GB` (default "+defaultSizes+", or the one of -gb when that is smaller than all of them)")
	flags.BoolVar(&o.million, "million", false, "in group memory, a million files too")
	flags.StringVar(&only, "only", "", "`groups` to run, of "+strings.Join(groupNames(), ",")+" (default all)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("what is %q for? see -help", flags.Arg(0))
	}
	if sizes == "" {
		sizes = defaultSizes
		if o.gb > 0 && o.gb < smallestSize {
			sizes = strconv.FormatFloat(o.gb, 'g', -1, 64)
		}
	}
	for text := range strings.SplitSeq(sizes, ",") {
		size, err := strconv.ParseFloat(text, 64)
		if err != nil || size <= 0 {
			return o, fmt.Errorf("-sizes: %q is no size", text)
		}
		o.sizes = append(o.sizes, size)
	}
	o.groups = groupNames()
	if only != "" {
		o.groups = strings.Split(only, ",")
	}
	for _, group := range o.groups {
		if !slices.Contains(groupNames(), group) {
			return o, fmt.Errorf("-only: there is no group %q", group)
		}
	}
	if o.gb <= 0 || o.files < 1 || o.rounds < 1 || o.connections < 1 {
		return o, errors.New("-gb, -files, -rounds and -connections must be positive")
	}
	if len(o.builds) == 0 {
		o.builds = []build{{name: "backstay", path: "bin/backstay"}}
	}
	if len(o.builds) == 1 {
		o.builds[0].name = "backstay"
	}
	return o, checkBuilds(o.builds)
}

func checkBuilds(builds []build) error {
	names := map[string]bool{}
	for i := range builds {
		if names[builds[i].name] {
			return fmt.Errorf("-backstay: two builds are called %s: name them, as in -backstay old=PATH", builds[i].name)
		}
		names[builds[i].name] = true
		path, err := filepath.Abs(builds[i].path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("-backstay: %w", err)
		}
		builds[i].path = path
	}
	return nil
}

// bench is one run of the program.
type bench struct {
	options
	lab      *lab
	tools    tools
	out      io.Writer
	progress io.Writer
	busyRuns int // runs during which other processes used the machine
	runs     int
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	b := &bench{options: o, out: out, progress: progress}
	if b.tools, err = findTools(ctx, o); err != nil {
		return err
	}
	if err := checkSpace(o); err != nil {
		return err
	}
	load, err := loadAverage()
	if err != nil {
		return err
	}
	if b.lab, err = startLab(ctx, o.dir, progress); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.close()) }()
	if err := b.printFacts(ctx, load); err != nil {
		return err
	}
	var failed []error
	for _, group := range o.groups {
		measure := map[string]func(context.Context) error{
			"backup": b.backup, "repeat": b.repeat, "restore": b.restore,
			"archives": b.archives, "files": b.filesGroup, "memory": b.memory,
		}[group]
		if err := measure(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.Join(fmt.Errorf("interrupted during %s", group), err)
			}
			b.say("%s: %v", group, err) // the other groups may still tell something
			failed = append(failed, fmt.Errorf("group %s: %w", group, err))
		}
	}
	if b.busyRuns > 0 {
		fmt.Fprintf(out, "\nWarning: during %d of %d runs other processes used more than a tenth of the machine; take the seconds as upper bounds.\n", b.busyRuns, b.runs)
	}
	return errors.Join(failed...)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}
