// Command matrix runs tests against several database servers in turn and prints
// what passed where, and why a test did not apply. It is for `make test-matrix`.
// It reads the servers from its input, one a line: name, tab, path of the server
// program (scripts/servers.sh). Its arguments are the packages to test. It fails
// when a test failed on any server.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	jobs := flag.Int("p", 2, "packages tested at once")
	timeout := flag.String("timeout", "20m", "limit for each package")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, os.Stderr, *jobs, *timeout, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

// server is a column of the table.
type server struct {
	path    string
	version string // "MariaDB 10.11.11"
}

var errTests = errors.New("tests failed")

func run(in io.Reader, out, progress io.Writer, jobs int, timeout string, packages []string) error {
	servers, err := readServers(in)
	if err != nil {
		return err
	}
	var results []*result
	failed := false
	for _, s := range servers {
		fmt.Fprintf(progress, "matrix: testing on %s (%s)\n", s.version, s.path)
		r, err := testOn(s, servers, jobs, timeout, packages)
		if err != nil {
			return err
		}
		for _, line := range r.failures() {
			fmt.Fprintln(progress, line)
		}
		failed = failed || r.failed()
		results = append(results, r)
	}
	if err := printTable(out, servers, results); err != nil {
		return err
	}
	if failed {
		return errTests
	}
	return nil
}

func readServers(in io.Reader) ([]server, error) {
	var servers []server
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		_, path, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			return nil, fmt.Errorf("%q names no server: want its name, a tab, and the path of its program", lines.Text())
		}
		text, err := exec.Command(path, "--no-defaults", "--version").Output()
		if err != nil {
			return nil, fmt.Errorf("ask %s for its version: %w", path, err)
		}
		version, err := versionOf(string(text))
		if err != nil {
			return nil, err
		}
		servers = append(servers, server{path, version})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(servers) == 0 {
		return nil, errors.New("no servers were named on the input")
	}
	return servers, nil
}

var versionNumber = regexp.MustCompile(`\bVer (\d+(?:\.\d+)*)`)

func versionOf(text string) (string, error) {
	number := versionNumber.FindStringSubmatch(text)
	if number == nil {
		return "", fmt.Errorf("%q is no server's version", strings.TrimSpace(text))
	}
	if strings.Contains(text, "MariaDB") {
		return "MariaDB " + number[1], nil
	}
	return "MySQL " + number[1], nil
}

func testOn(s server, all []server, jobs int, timeout string, packages []string) (*result, error) {
	var others []string
	for _, o := range all {
		if o != s {
			others = append(others, o.path)
		}
	}
	args := []string{"test", "-json", "-count=1", "-p", strconv.Itoa(jobs), "-timeout", timeout}
	cmd := exec.Command("go", append(args, packages...)...)
	// mysqltest.BinaryVariable, what corpus's slow cases wait for, and the
	// servers that portable's tests restore on.
	cmd.Env = append(os.Environ(), "BACKSTAY_TEST_MYSQLD="+s.path, "BACKSTAY_TEST_SLOW=1",
		"BACKSTAY_TEST_OTHER_MYSQLDS="+strings.Join(others, string(os.PathListSeparator)))
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r, readErr := readResult(pipe)
	waitErr := cmd.Wait()
	var exit *exec.ExitError
	if readErr != nil {
		return nil, errors.Join(readErr, waitErr)
	}
	if waitErr != nil && !(errors.As(waitErr, &exit) && r.failed()) {
		return nil, fmt.Errorf("go test: %w", waitErr)
	}
	return r, nil
}
