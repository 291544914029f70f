// Package script runs backstay's commands as a person or a script does, each in
// a process of its own, and looks at what they print, how they end and what
// they leave behind. It is for the project's own tests. It promises a database,
// an account, an app and a configuration of its own to every script.
package script

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

type withServer struct{ *testing.M }

func (m withServer) Run() int { return mysqltest.Main(m.M) }

func TestMain(m *testing.M) {
	testscript.Main(withServer{m}, map[string]func(){"backstay": backstay})
}

// backstay is cmd/backstay's main.
func backstay() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Clock: movedClock(os.Getenv(clockVariable)), Version: "1.2.3-test",
	}))
}

// TestScripts runs every *.txt of this folder. A script finds in its
// environment: $app the app's folder, $db its database, $dbuser and
// $WORK/db.pw an account that may do everything with databases whose name
// begins with $db, $socket and $port of the server, $repo the folder of the
// repository. Files of the archive whose name ends in ".in" are written without
// it, with the environment filled in, for their owner only. backstay.yaml is
// the one below unless the archive has another.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("every script starts a dozen processes")
	}
	testscript.Run(t, testscript.Params{
		Dir: ".", Setup: setup, Cmds: commands(), RequireUniqueNames: true,
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "mount":
				return mountable(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

const defaultConfig = `repository:
  url: file://$repo
  password_file: $WORK/repository.key
state_dir: $WORK/state
apps:
  - name: wiki
    profile: generic
    root: $app
    database: {socket: "$socket", user: "$dbuser", password_file: $WORK/db.pw, name: "$db"}
    files:
      - path: $app/uploads
    config: [$app/config.ini]
`

func setup(env *testscript.Env) error {
	t, ok := env.T().(testing.TB)
	if !ok {
		return fmt.Errorf("%T is no testing.TB", env.T())
	}
	server := mysqltest.Server(t)
	db := mysqltest.Database(t)
	account := mysqltest.User(t, "ALL ON `"+strings.ReplaceAll(db, "_", `\_`)+`%`+"`.*")
	t.Cleanup(func() { dropCopies(t, db) })
	for name, value := range map[string]string{
		"HOME": filepath.Join(env.WorkDir, "home"), "BACKSTAY_CONFIG": filepath.Join(env.WorkDir, "backstay.yaml"),
		"app": filepath.Join(env.WorkDir, "app"), "repo": filepath.Join(env.WorkDir, "repo"),
		"db": db, "dbuser": account.User, "socket": server.Socket, "port": strconv.Itoa(server.Port), "TZ": "UTC",
	} {
		env.Setenv(name, value)
	}
	if cache, err := os.UserCacheDir(); err == nil { // the demo's server starts faster from the template there
		env.Setenv("XDG_CACHE_HOME", cache)
	}
	if err := os.Mkdir(env.Getenv("HOME"), 0o700); err != nil {
		return err
	}
	password := account.Password.Reveal()
	if err := os.WriteFile(filepath.Join(env.WorkDir, "db.pw"), []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return writeTemplates(env)
}

func writeTemplates(env *testscript.Env) error {
	config := filepath.Join(env.WorkDir, "backstay.yaml.in")
	if _, err := os.Stat(config); os.IsNotExist(err) {
		if err := os.WriteFile(config, []byte(defaultConfig), 0o600); err != nil {
			return err
		}
	}
	found, err := filepath.Glob(filepath.Join(env.WorkDir, "*.in"))
	if err != nil {
		return err
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		filled := os.Expand(string(text), env.Getenv)
		if err := os.WriteFile(strings.TrimSuffix(name, ".in"), []byte(filled), 0o600); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// dropCopies drops what a script restored beside its database.
func dropCopies(t testing.TB, db string) {
	ctx := context.WithoutCancel(t.Context())
	conn, err := mysql.Connect(ctx, mysqltest.Config(t, ""))
	if err != nil {
		t.Error(err)
		return
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, suffix := range []string{"_copy", "_other"} {
		if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+mysql.QuoteName(db+suffix)); err != nil {
			t.Error(err)
		}
	}
}
