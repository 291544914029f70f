package script

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the state database's
)

// clockVariable names the file with the seconds by which backstay's clock is
// ahead.
const clockVariable = "BACKSTAY_TEST_CLOCK"

// movedClock is the machine's clock, ahead by what its file says, if there is
// one.
type movedClock string

func (c movedClock) Now() time.Time {
	if c == "" {
		return time.Now()
	}
	text, err := os.ReadFile(string(c))
	if err != nil {
		panic(err)
	}
	ahead, err := strconv.Atoi(string(text))
	if err != nil {
		panic(err)
	}
	return time.Now().Round(0).Add(time.Duration(ahead) * time.Second)
}

// clock moves backstay's clock on: clock 26h.
func clock(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "clock DURATION")
	by, err := time.ParseDuration(args[0])
	ts.Check(err)
	file := filepath.Join(ts.Getenv("WORK"), "clock")
	ahead := 0
	if text, err := os.ReadFile(file); err == nil {
		ahead, err = strconv.Atoi(string(text))
		ts.Check(err)
	}
	ts.Check(os.WriteFile(file+".new", []byte(strconv.Itoa(ahead+int(by/time.Second))), 0o600))
	ts.Check(os.Rename(file+".new", file))
	ts.Setenv(clockVariable, file)
}

// receiver listens for webhooks at $hook, and writes a line of each into told:
// the path, the part, the app (or -), the topic and the names of the problems.
// A file "down" makes it refuse them.
func receiver(ts *testscript.TestScript, _ []string) {
	told, down := ts.MkAbs("told"), ts.MkAbs("down")
	ts.Check(os.WriteFile(told, nil, 0o600))
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var got struct {
			Part  string
			Alarm struct {
				App, Topic string
				Problems   []struct{ Name string }
			}
		}
		if _, err := os.Stat(down); err == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		app := got.Alarm.App
		if app == "" {
			app = "-"
		}
		line := []string{r.URL.Path, got.Part, app, got.Alarm.Topic}
		for _, p := range got.Alarm.Problems {
			line = append(line, p.Name)
		}
		f, err := os.OpenFile(told, os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintln(f, strings.Join(line, " "))
			_ = f.Close()
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, `{"ref": "T-17"}`)
	}))
	ts.Defer(server.Close)
	ts.Setenv("hook", server.URL)
}

// address waits until the service whose log a file is says where it listens,
// and sets $address to that: address serve.log.
func address(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "address FILE")
	ready := regexp.MustCompile(`the service runs.* listen=(\S+)`)
	ts.Check(poll(func() error {
		log, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			return err
		}
		m := ready.FindSubmatch(log)
		if m == nil {
			return fmt.Errorf("the service is not ready:\n%s", log)
		}
		ts.Setenv("address", string(m[1]))
		return nil
	}))
}

// get asks a web server until it answers with a status and a text that matches:
// get 200 http://$address/healthz '^ok'.
func get(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "get STATUS URL PATTERN")
	want := regexp.MustCompile(args[2])
	ts.Check(poll(func() error {
		response, err := http.Get(args[1])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if fmt.Sprint(response.StatusCode) != args[0] || !want.Match(text) {
			return fmt.Errorf("it answers %d and\n%s", response.StatusCode, text)
		}
		return nil
	}))
}

// eventually runs a program until its output matches.
func eventually(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "eventually PATTERN PROGRAM [ARG…]")
	want := regexp.MustCompile(args[0])
	ts.Check(poll(func() error {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			return err
		}
		if text := ts.ReadFile("stdout"); !want.MatchString(text) {
			return fmt.Errorf("the output does not match %s:\n%s", want, text)
		}
		return nil
	}))
}

// sendSignal sends a signal to what runs in the background: signal HUP.
func sendSignal(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "signal HUP|TERM|KILL")
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

// fill makes a file, with the environment filled in, the configuration.
func fill(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "fill FILE")
	ts.Check(os.WriteFile(ts.MkAbs("backstay.yaml"), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// tamper runs statements in the state database.
func tamper(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "tamper STATEMENTS")
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs("state/state.db"))
	ts.Check(err)
	_, err = db.Exec(args[0])
	ts.Check(errors.Join(err, db.Close()))
}
