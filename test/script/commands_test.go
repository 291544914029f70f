package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// commands are what scripts have beyond testscript's own.
func commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"seed":       plain(seed),
		"exits":      plain(exits),
		"fails":      plain(fails),
		"json":       plain(jsonCommand),
		"state":      plain(saveState),
		"unchanged":  plain(unchanged),
		"count":      plain(count),
		"tidy":       plain(tidy),
		"sql":        plain(sqlCommand),
		"waitfor":    plain(waitFor),
		"fifo":       plain(fifo),
		"age":        plain(age),
		"damage":     plain(damage),
		"cutserver":  plain(cutServer),
		"setvar":     plain(setVar),
		"collide":    plain(collide),
		"tmpfs":      plain(tmpfs),
		"onepercent": plain(onePercent),
		"clock":      plain(clock),
		"receiver":   plain(receiver),
		"address":    plain(address),
		"get":        plain(get),
		"eventually": plain(eventually),
		"signal":     plain(sendSignal),
		"fill":       plain(fill),
		"tamper":     plain(tamper),
	}
}

// plain makes a command of which there is no negation.
func plain(run func(ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command has no negation")
		}
		run(ts, args)
	}
}

func need(ts *testscript.TestScript, args []string, least int, usage string) {
	if len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

// seed fills $db and $app; `seed big` with more.
func seed(ts *testscript.TestScript, args []string) {
	rows, size := 300, 300_000
	if slices.Contains(args, "big") {
		rows, size = 3000, 3_000_000
	}
	hashes := "SHA2(seq, 512)" // compresses by half at most
	for i := range 9 {
		hashes += fmt.Sprintf(", SHA2(seq + 0.%d, 512)", i+1)
	}
	password, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), "db.pw"))
	ts.Check(err)
	ts.Check(execAs(mysql.Config{
		Socket: ts.Getenv("socket"), User: ts.Getenv("dbuser"), Password: core.NewSecret(strings.TrimSpace(string(password))), Database: ts.Getenv("db"),
	},
		"CREATE TABLE pages (id INT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(190) NOT NULL, body MEDIUMTEXT, score FLOAT, hidden BIT(1)) ENGINE=InnoDB",
		"CREATE TABLE tags (page INT, tag VARCHAR(50)) ENGINE=InnoDB",
		"CREATE TABLE empty_one (id INT PRIMARY KEY) ENGINE=InnoDB",
		fmt.Sprintf("INSERT INTO pages (title, body, score, hidden) SELECT CONCAT('Seite ', seq, ' – ünï'), CONCAT(%s), seq / 7, seq %% 2 FROM seq_1_to_%d", hashes, rows),
		fmt.Sprintf("INSERT INTO tags SELECT seq, CONCAT('tag', seq %% 7) FROM seq_1_to_%d", rows),
		"CREATE VIEW titles AS SELECT id, title FROM pages",
		"CREATE TRIGGER pages_bi BEFORE INSERT ON pages FOR EACH ROW SET NEW.title = TRIM(NEW.title)",
	))
	app := ts.Getenv("app")
	random := make([]byte, size) // does not compress
	state := uint64(88172645463325252)
	for i := range random {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		random[i] = byte(state)
	}
	for name, text := range map[string]string{
		"config.ini": "[db]\nname=wiki\n", "index.php": "<?php\n", "uploads/a.txt": "first\n", "uploads/b.bin": string(random),
		"uploads/2026/ünï.txt": "naïve\n", "uploads/empty.txt": "",
	} {
		path := filepath.Join(app, name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(text), 0o640))
	}
	ts.Check(os.MkdirAll(filepath.Join(app, "uploads/none"), 0o750))
	ts.Check(os.Symlink("a.txt", filepath.Join(app, "uploads/link")))
}

func rootConfig(ts *testscript.TestScript, db string) mysql.Config {
	return mysql.Config{Socket: ts.Getenv("socket"), User: "root", Database: db}
}

func execAs(config mysql.Config, statements ...string) error {
	_, err := queryAs(config, statements...)
	return err
}

// queryAs runs statements in one session and returns the rows of the last.
func queryAs(config mysql.Config, statements ...string) (rows []mysql.Row, err error) {
	ctx, cancel := scriptContext()
	defer cancel()
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, s := range statements {
		if rows, err = conn.Query(ctx, s); err != nil {
			return nil, fmt.Errorf("%.80s: %w", s, err)
		}
	}
	return rows, nil
}

// exits runs a program and compares its exit code: exits 12 backstay list. It
// also holds every run of backstay to what all of them promise: no secret in
// any output, and with --json one object on stdout.
func exits(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "exits CODE PROGRAM [ARG…]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("it ended with exit code %d, want %d", got, want)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	for _, file := range []string{"db.pw", "repository.key"} {
		secret, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), file))
		if text := strings.TrimSpace(string(secret)); err == nil && text != "" && strings.Contains(stdout+stderr, text) {
			ts.Fatalf("the output holds the secret of %s", file)
		}
	}
	if args[1] == "backstay" && slices.Contains(args, "--json") {
		object(ts)
	}
}

// fails runs backstay twice, for a person and for a script, and compares the
// exit code, the message and the hint of both:
//
//	fails 12 wrong_key 'message pattern' 'hint pattern' list
func fails(ts *testscript.TestScript, args []string) {
	need(ts, args, 5, "fails EXIT CODE MESSAGE HINT ARG…")
	message, hint := regexp.MustCompile(args[2]), regexp.MustCompile(args[3])
	exits(ts, append([]string{args[0], "backstay"}, args[4:]...))
	text := ts.ReadFile("stderr")
	var errorText, hintText string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "backstay: error: "); ok {
			errorText += rest
		}
		if rest, ok := strings.CutPrefix(line, "backstay: hint: "); ok {
			hintText += rest
		}
	}
	if !message.MatchString(errorText) {
		ts.Fatalf("the message does not match %s", message)
	}
	if !hint.MatchString(hintText) {
		ts.Fatalf("the hint does not match %s", hint)
	}
	if ts.ReadFile("stdout") != "" && !slices.Contains(args, "restore") { // which prints its plan first
		ts.Fatalf("a failure printed a result")
	}
	exits(ts, append([]string{args[0], "backstay", "--json"}, args[4:]...))
	failure, ok := object(ts)["error"].(map[string]any)
	if !ok || len(failure) != 3 {
		ts.Fatalf("stdout is not an error object")
	}
	if failure["code"] != args[1] {
		ts.Fatalf("the code is %v, want %s", failure["code"], args[1])
	}
	if got := fmt.Sprint(failure["message"]); !message.MatchString(got) {
		ts.Fatalf("the JSON message does not match %s", message)
	}
	if got := fmt.Sprint(failure["hint"]); !hint.MatchString(got) {
		ts.Fatalf("the JSON hint does not match %s", hint)
	}
}

// object returns stdout, which must be one JSON object of schema 1 and nothing
// else.
func object(ts *testscript.TestScript) map[string]any {
	text := ts.ReadFile("stdout")
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("stdout is not a JSON object: %v", err)
	}
	if d.More() || strings.Count(text, "\n") != 1 {
		ts.Fatalf("stdout is more than one JSON object")
	}
	if v["schema"] != 1.0 {
		ts.Fatalf("the schema is %v, want 1", v["schema"])
	}
	return v
}

// jsonCommand looks into the JSON object on stdout. A path is names and numbers
// with dots between, "len" for the length:
//
//	json backups.0.app wiki          equal, as text
//	json -match backups.0.id '^[0-9a-f]{16}$'
//	json -keys backups.0 app id …    has at least these
//	json -set id backups.0.id        into the environment
func jsonCommand(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "json [-match|-keys|-set NAME] PATH VALUE…")
	var v any = object(ts)
	mode := ""
	if strings.HasPrefix(args[0], "-") {
		mode, args = args[0], args[1:]
	}
	path := args[0]
	if mode == "-set" {
		path = args[1]
	}
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			inner, ok := at[name]
			if !ok {
				ts.Fatalf("%s: there is no %q", path, name)
			}
			v = inner
		case []any:
			if name == "len" {
				v = len(at)
				continue
			}
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				ts.Fatalf("%s: there is no element %q of %d", path, name, len(at))
			}
			v = at[i]
		default:
			ts.Fatalf("%s: %q is inside of a %T", path, name, v)
		}
	}
	text := fmt.Sprint(v)
	if f, ok := v.(float64); ok {
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	switch mode {
	case "-set":
		ts.Setenv(args[0], text)
	case "-match":
		if !regexp.MustCompile(args[1]).MatchString(text) {
			ts.Fatalf("%s is %q and does not match %s", path, text, args[1])
		}
	case "-keys":
		m, _ := v.(map[string]any)
		for _, k := range args[1:] {
			if _, ok := m[k]; !ok {
				ts.Fatalf("%s has no %q", path, k)
			}
		}
	default:
		if text != args[1] {
			ts.Fatalf("%s is %q, want %q", path, text, args[1])
		}
	}
}

// saveState remembers the app's files and database: state before.
func saveState(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "state NAME")
	ts.Check(os.WriteFile(statePath(ts, args[0]), []byte(describe(ts)), 0o600))
}

// unchanged compares them with what state saw: unchanged before.
func unchanged(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "unchanged NAME")
	want, err := os.ReadFile(statePath(ts, args[0]))
	ts.Check(err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(describe(ts), "\n")); diff != "" {
		ts.Fatalf("the app is not as it was (-was +is):\n%s", diff)
	}
}

func statePath(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("WORK"), ".state-"+name)
}

// describe writes down the app: every file with its mode, owner, time and
// content, every table with the server's checksum, and every definition.
func describe(ts *testscript.TestScript) string {
	var out strings.Builder
	describeTree(ts, &out, ts.Getenv("app"))
	ctx, cancel := scriptContext()
	defer cancel()
	config := rootConfig(ts, ts.Getenv("db"))
	if _, err := queryAs(rootConfig(ts, ""), "USE "+mysql.QuoteName(config.Database)); err != nil {
		fmt.Fprintf(&out, "no database\n")
		return out.String()
	}
	sums, err := mysqltest.ChecksumOf(ctx, config)
	ts.Check(err)
	definitions, err := mysqltest.ShowCreateOf(ctx, config)
	ts.Check(err)
	for _, m := range []map[string]string{sums, definitions} {
		for _, k := range slices.Sorted(keysOf(m)) {
			fmt.Fprintf(&out, "%s: %s\n", k, autoIncrement.ReplaceAllString(m[k], ""))
		}
	}
	return out.String()
}

// autoIncrement is the next number of a table, which a failed INSERT moves too.
var autoIncrement = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// count compares how many backups there are: count 2.
func count(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "count N")
	exits(ts, []string{"0", "backstay", "list", "--json"})
	list, _ := object(ts)["backups"].([]any)
	if fmt.Sprint(len(list)) != args[0] {
		ts.Fatalf("there are %d backups, want %s", len(list), args[0])
	}
}

// tidy looks for what a command left behind: temporary files anywhere, locks in
// the server, connections, databases. Databases that are meant to be there
// beside $db are its arguments.
func tidy(ts *testscript.TestScript, args []string) {
	work := ts.Getenv("WORK")
	known := regexp.MustCompile(`^(service/backstay\.yaml|(state|access)\.db(-wal|-shm|\.lock)?|locks/\.(service|alarms)\.lock|locks/\.?[a-z0-9-]+(\.import)?\.lock|damaged/[0-9a-f]+|last/[a-z0-9-]+|cache/[a-z0-9-]+\.files|connections/[0-9a-f]+\.json(\.mlock)?|restores/[a-z0-9-]+/[a-z0-9]{10}/(journal\.json|[a-z]+\.moves(\.pass|\.reserve)?))$`)
	for _, dir := range []string{".tmp", "home", "state", "repo", "app"} {
		root := filepath.Join(work, dir)
		err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() && dir != ".tmp" || p == root {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			switch dir {
			case ".tmp", "home":
				ts.Fatalf("left behind: %s", p)
			case "state":
				if !known.MatchString(rel) {
					ts.Fatalf("left behind: %s", p)
				}
			default:
				if dir == "app" && strings.HasPrefix(rel, ".backstay-") { // what a restore keeps
					return nil
				}
				if strings.Contains(rel, ".tmp") || strings.Contains(rel, "backstay-") || strings.HasPrefix(filepath.Base(rel), ".") && dir == "app" {
					ts.Fatalf("left behind: %s", p)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			ts.Check(err)
		}
	}
	var names []string
	rows, err := queryAs(rootConfig(ts, ""), "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")
	ts.Check(err)
	for _, row := range rows {
		// What a restore keeps is no left-over; package restore's tests see to it.
		if name := row[0].Text; strings.HasPrefix(name, ts.Getenv("db")+"_") && !strings.Contains(name, "_backstay_") {
			names = append(names, row[0].Text)
		}
	}
	if want := args; !slices.Equal(names, want) {
		ts.Fatalf("databases beside %s: %v, want %v", ts.Getenv("db"), names, want)
	}
	ts.Check(quietServer(ts))
}

// quietServer waits until the server has noticed that the account's connections
// are gone.
func quietServer(ts *testscript.TestScript) error {
	query := "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER=" + mysql.QuoteText(ts.Getenv("dbuser"))
	return poll(func() error {
		rows, err := queryAs(rootConfig(ts, ""), query)
		if err == nil && rows[0][0].Text != "0" {
			err = fmt.Errorf("the account still has %s connections", rows[0][0].Text)
		}
		return err
	})
}

// pollLimit is how long something that another process does may take.
const pollLimit = 20 * time.Second

func poll(check func() error) error {
	deadline := time.Now().Add(pollLimit)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// sqlCommand runs statements as root in $db, each an argument, or with -db in
// another database, and prints the rows of the last.
func sqlCommand(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "sql [-db NAME] STATEMENT…")
	db := ts.Getenv("db")
	if args[0] == "-db" {
		db, args = args[1], args[2:]
	}
	rows, err := queryAs(rootConfig(ts, db), args...)
	ts.Check(err)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(ts.Stdout(), "\t")
			}
			fmt.Fprint(ts.Stdout(), cell.Text)
		}
		fmt.Fprintln(ts.Stdout())
	}
}

// waitFor waits until a file is there.
func waitFor(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "waitfor FILE [PATTERN]")
	ts.Check(poll(func() error {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && len(args) > 1 && !regexp.MustCompile(args[1]).Match(data) {
			err = fmt.Errorf("%s does not match %s", args[0], args[1])
		}
		return err
	}))
}

// age moves the modification time of a file a day back, so that a cache may
// trust it.
func age(ts *testscript.TestScript, args []string) {
	ts.Check(filepath.WalkDir(ts.Getenv("app"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() == fs.ModeSymlink {
			return err
		}
		day := time.Now().Add(-24 * time.Hour)
		return os.Chtimes(p, day, day)
	}))
}

// setVar sets a variable to a part of a text: setvar short 8 $id.
func setVar(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "setvar NAME LENGTH TEXT")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[0], args[2][:n])
}

// cutServer listens on a port, $cutport, from which it forwards to the database
// server until so many bytes have come from there; then that server is gone.
func cutServer(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "cutserver BYTES")
	limit, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	p, err := startCut(net.JoinHostPort("127.0.0.1", ts.Getenv("port")), limit)
	ts.Check(err)
	ts.Defer(p.close)
	ts.Setenv("cutport", strconv.Itoa(p.port()))
}

// onePercent fails unless the first number is under 1 % of the second.
func onePercent(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "onepercent PART WHOLE")
	part, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	whole, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if part*100 >= whole {
		ts.Fatalf("%d is not under 1 %% of %d", part, whole)
	}
}

// collide backs up until the ids of two backups begin alike, and sets $prefix
// to that: ids are random, so it takes a few.
func collide(ts *testscript.TestScript, _ []string) {
	seen := map[string]bool{}
	for {
		exits(ts, []string{"0", "backstay", "backup", "--only", "config", "--json"})
		b, _ := object(ts)["backups"].([]any)[0].(map[string]any)
		prefix := fmt.Sprint(b["id"])[:1]
		if seen[prefix] {
			ts.Setenv("prefix", prefix)
			return
		}
		seen[prefix] = true
	}
}
