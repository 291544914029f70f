package localserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// binary is an installed server program.
type binary struct {
	path    string // absolute, links resolved
	baseDir string // the installation it belongs to: /usr for /usr/sbin/mariadbd
	version string // the line that --version prints
	vendor  string // "mariadb" or "mysql"
}

// The folders of server programs that are in no ordinary user's PATH.
var binaryFolders = []string{
	"/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/libexec", "/usr/local/bin", "/usr/bin",
	"/usr/local/mysql/bin", "/usr/local/mariadb/bin",
}

// findBinary finds the server program, or examines the one at path.
func findBinary(ctx context.Context, path string) (binary, error) {
	if path == "" {
		path = searchBinary()
	}
	if path == "" {
		return binary{}, missing("mariadbd (or mysqld) was not found in PATH, /usr/sbin or /usr/libexec", nil)
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return binary{}, missing(fmt.Sprintf("there is no %s", path), err)
	}
	cmd := exec.CommandContext(ctx, abs, "--no-defaults", "--version")
	cmd.Env = environment(os.TempDir())
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return binary{}, fmt.Errorf("ask %s for its version: %w", abs, ctx.Err())
		}
		return binary{}, missing(fmt.Sprintf("%s does not run", abs), err)
	}
	b := binary{path: abs, baseDir: filepath.Dir(filepath.Dir(abs)), version: strings.TrimSpace(string(out)), vendor: "mysql"}
	if strings.Contains(b.version, "MariaDB") {
		b.vendor = "mariadb"
	}
	return b, nil
}

func searchBinary() string {
	if found := searchBinaries(); len(found) > 0 {
		return found[0]
	}
	return ""
}

// searchBinaries lists the server programs in PATH and in binaryFolders, the
// one that is taken when nobody says first.
func searchBinaries() []string {
	var found []string
	for _, name := range []string{"mariadbd", "mysqld"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
		for _, dir := range binaryFolders {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				found = append(found, path)
			}
		}
	}
	return found
}

// Program is an installed server program.
type Program struct {
	Path    string // absolute, links resolved
	Vendor  string // "mariadb" or "mysql"
	Version string // the line that --version prints
}

// Installed lists the server programs of this machine that run, each once, the
// one first that Start takes when nobody says. None is no error.
func Installed(ctx context.Context) ([]Program, error) {
	var programs []Program
	seen := map[string]bool{}
	for _, path := range searchBinaries() {
		b, err := findBinary(ctx, path)
		if ctx.Err() != nil {
			return nil, err
		}
		if err != nil || seen[b.path] {
			continue // a program that does not run is none
		}
		seen[b.path] = true
		programs = append(programs, Program{Path: b.path, Vendor: b.vendor, Version: b.version})
	}
	return programs, nil
}

// Examine tells what the server program at path is.
func Examine(ctx context.Context, path string) (Program, error) {
	b, err := findBinary(ctx, path)
	return Program{Path: b.path, Vendor: b.vendor, Version: b.version}, err
}

func missing(message string, err error) error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: "start a private database server", Message: message, Err: err,
		Hint: "install a MariaDB server: apt-get install mariadb-server; the demo, drills and tests start one of their own, backups do not need it",
	}
}

// initializer returns the command that fills dir, which does not exist yet,
// with an empty database of which root has no password.
func (b binary) initializer(dir, tmp string) (string, []string, error) {
	// Small files make a small template; the server resizes its redo log at
	// the first start.
	args := []string{"--no-defaults", "--basedir=" + b.baseDir, "--datadir=" + dir, "--tmpdir=" + tmp}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	if b.vendor == "mysql" {
		// The folder that packagers let files be exported to is of no use here,
		// and without it a packaged server does not start.
		return b.path, append(args, "--initialize-insecure", "--innodb-flush-method=nosync", "--secure-file-priv=NULL"), nil
	}
	// --force: without it the script ends where neither the host's own name nor
	// localhost can be looked up, as in a system whose /etc/hosts nobody wrote yet.
	// It changes nothing else, and the server looks no names up.
	args = append(args, "--auth-root-authentication-method=normal", "--skip-test-db", "--force",
		"--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--innodb-use-native-aio=OFF")
	for _, name := range []string{"mariadb-install-db", "mysql_install_db"} {
		for _, dir := range []string{"bin", "scripts", "sbin", "libexec"} {
			path := filepath.Join(b.baseDir, dir, name)
			if _, err := exec.LookPath(path); err == nil {
				return path, args, nil
			}
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, args, nil
		}
	}
	return "", nil, missing(fmt.Sprintf("mariadb-install-db, which belongs to %s, was not found", b.path), nil)
}

// environment is what a server and its programs get to see of the
// environment. Variables for clients and service managers (MYSQL_UNIX_PORT,
// LISTEN_FDS, NOTIFY_SOCKET) would make it part of something else.
func environment(tmp string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=" + tmp}
	for _, name := range []string{"TZ", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
