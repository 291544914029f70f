package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// build is a backstay to measure.
type build struct{ name, path, version string }

// tool is a program to compare with; its path is "" when it is not there.
type tool struct{ path, version string }

func (t tool) there() bool { return t.path != "" }

// tools are the programs of others.
type tools struct {
	zstd, gzip, dump, client, mydumper, myloader, restic tool
}

func findTools(ctx context.Context, o options) (tools, error) {
	var t tools
	find := func(to *tool, given string, arg string, names ...string) error {
		if given != "" {
			names = []string{given}
		}
		for _, name := range names {
			path, err := exec.LookPath(name)
			if errors.Is(err, exec.ErrNotFound) && given == "" {
				continue
			}
			if err != nil {
				return err
			}
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
			version, err := versionOf(ctx, path, arg)
			if err != nil {
				return err
			}
			*to = tool{path, version}
			return nil
		}
		return nil
	}
	myloader := ""
	if o.mydumper != "" {
		myloader = filepath.Join(filepath.Dir(o.mydumper), "myloader")
	}
	return t, errors.Join(
		find(&t.zstd, "", "--version", "zstd"),
		find(&t.gzip, "", "--version", "gzip"),
		find(&t.dump, "", "--version", "mariadb-dump", "mysqldump"),
		find(&t.client, "", "--version", "mariadb", "mysql"),
		find(&t.mydumper, o.mydumper, "--version", "mydumper"),
		find(&t.myloader, myloader, "--version", "myloader"),
		find(&t.restic, o.restic, "version", "restic"),
		versionsOf(ctx, o.builds),
	)
}

func versionsOf(ctx context.Context, builds []build) error {
	for i := range builds {
		text, err := exec.CommandContext(ctx, builds[i].path, "version").Output()
		if err != nil {
			return fmt.Errorf("%s version: %w", builds[i].path, err)
		}
		builds[i].version = strings.TrimSpace(string(text))
	}
	return nil
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// versionOf asks a program for its version. Of MariaDB's programs, which name
// two, the second is the server's that they came with.
func versionOf(ctx context.Context, path, arg string) (string, error) {
	text, err := exec.CommandContext(ctx, path, arg).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", path, arg, err)
	}
	if _, after, ok := strings.Cut(string(text), "Distrib "); ok {
		text = []byte(after)
	} else if _, after, ok := strings.Cut(string(text), "from "); ok {
		text = []byte(after)
	}
	return versionNumber.FindString(string(text)), nil
}

// zstd says whether this mydumper, or myloader, knows zstd: 0.10 and before
// have gzip only.
func (t tool) zstd() bool {
	major, _, _ := strings.Cut(t.version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 1 || strings.HasPrefix(t.version, "0.1") && t.version >= "0.14"
}

// compression names what mydumper compresses with here.
func (t tool) compression() string {
	if t.zstd() {
		return "zstd"
	}
	return "gzip"
}

// dumpWith returns mydumper's command.
func (b *bench) dumpWith(dir string) command {
	t := b.tools.mydumper
	args := []string{t.path, "-S", b.lab.server.Socket, "-u", b.lab.server.User, "-t", strconv.Itoa(b.connections), "-B", database, "-o", dir, "-c"}
	if t.zstd() {
		args = append(args, "ZSTD")
	}
	return command{args: args}
}

func (b *bench) mydumperName() string {
	t := b.tools.mydumper
	return fmt.Sprintf("mydumper %s, %s, %d threads", t.version, t.compression(), b.connections)
}

// loadWith returns myloader's command, with as many threads as it likes for 0.
func (b *bench) loadWith(dir string, threads int) command {
	t := b.tools.myloader
	args := []string{t.path, "-S", b.lab.server.Socket, "-u", b.lab.server.User, "-B", restored, "-d", dir}
	if threads > 0 {
		args = append(args, "-t", strconv.Itoa(threads))
	}
	return command{args: args}
}

// sqlDump takes further options of zstd.
func (b *bench) sqlDump(file string, options ...string) command {
	args := append([]string{b.tools.dump.path, b.lab.server.Socket, b.lab.server.User, database, b.tools.zstd.path, file}, options...)
	return shell(`"$1" --no-defaults --socket="$2" --user="$3" --single-transaction "$4" | "$5" -3 -q -o "$6" "${@:7}"`, args...)
}

func (b *bench) sqlLoad(file string) command {
	return shell(`"$1" -dc "$2" | "$3" --no-defaults --socket="$4" --user="$5" "$6"`,
		b.tools.zstd.path, file, b.tools.client.path, b.lab.server.Socket, b.lab.server.User, restored)
}

// Names of what backstay backs up here.
const (
	databaseApp = "perf"
	filesApp    = "tree"
)

// place is where one backstay works: its configuration and its repository.
type place struct {
	build      build
	config     string
	repository string
}

// place makes an empty repository in the lab, in place of any of that name. It
// is for the database, or for the files below tree when that is not "".
func (b *bench) place(ctx context.Context, with build, name, tree string) (place, error) {
	dir, err := b.lab.folder(name)
	if err != nil {
		return place{}, err
	}
	p := b.at(with, name)
	app := fmt.Sprintf("  - name: %s\n    profile: generic\n    database: {socket: %q, user: %q, name: %s}\n",
		databaseApp, b.lab.server.Socket, b.lab.server.User, database)
	if tree != "" {
		app = fmt.Sprintf("  - name: %s\n    profile: generic\n    files: [{path: %q}]\n", filesApp, tree)
	}
	text := fmt.Sprintf("repository: {url: %q, password_file: %q}\nstate_dir: %q\napps:\n%s",
		"file://"+p.repository, filepath.Join(dir, "key"), filepath.Join(dir, "state"), app)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		return p, err
	}
	_, err = measure(ctx, p.command("init"), 0)
	return p, err
}

// at returns the place that place makes, before or after it made it.
func (b *bench) at(with build, name string) place {
	dir := filepath.Join(b.lab.dir, name)
	return place{build: with, config: filepath.Join(dir, "backstay.yaml"), repository: filepath.Join(dir, "repository")}
}

func (p place) command(args ...string) command {
	return command{args: append([]string{p.build.path, "--config", p.config, "--quiet", "--no-progress"}, args...)}
}
