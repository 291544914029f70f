package phpserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const nobody = 65534

func TestMain(m *testing.M) {
	if dir := os.Getenv("PHPSERVER_TEST_SITE"); dir != "" {
		serveUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// site is a folder that PHP may serve, and what it may write to.
func site(t *testing.T, pages map[string]string) Options {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("PHP is not installed here:", err)
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{DocumentRoot: filepath.Join(dir, "www"), Temporary: filepath.Join(dir, "tmp"), UID: nobody, GID: nobody}
	o.Within = []string{o.DocumentRoot}
	for _, d := range []string{o.DocumentRoot, o.Temporary} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(o.Temporary, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(o.DocumentRoot, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func run(t *testing.T, o Options, m means) *Server {
	t.Helper()
	s, err := start(t.Context(), o, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, err := s.Client().Get(s.Base + path)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return resp.StatusCode, string(body)
}

// everyMeans are the ways in which PHP may be kept off the world here.
func everyMeans(t *testing.T, test func(t *testing.T, m means)) {
	for name, m := range map[string]means{"all": {true, true}, "namespaces": {true, false}, "no namespaces": {false, true}, "switches only": {false, false}} {
		t.Run(name, func(t *testing.T) { test(t, m) })
	}
}

// tries are ways out: each prints "out" when it gets there.
const tries = `<?php
function get($what) { return is_string($what) && $what !== '' ? 'out' : 'no'; }
function attempt($name, $f) { try { $r = $f(); } catch (\Throwable $e) { $r = 'no'; } echo $name, '=', $r, "\n"; }
$tcp = $_GET['tcp']; $udp = $_GET['udp']; $unix = $_GET['unix']; $secret = $_GET['secret']; $own = $_GET['own'];
attempt('fsockopen', fn() => @fsockopen('127.0.0.1', $tcp, $e, $s, 3) ? 'out' : 'no');
attempt('pfsockopen', fn() => @pfsockopen('127.0.0.1', $tcp, $e, $s, 3) ? 'out' : 'no');
attempt('stream', fn() => @stream_socket_client("tcp://127.0.0.1:$tcp", $e, $s, 3) ? 'out' : 'no');
attempt('tcp6', fn() => @stream_socket_client("tcp://[::1]:$tcp", $e, $s, 3) ? 'out' : 'no');
attempt('curl', function () use ($tcp) { $c = curl_init("http://127.0.0.1:$tcp/"); curl_setopt($c, CURLOPT_RETURNTRANSFER, 1); curl_setopt($c, CURLOPT_TIMEOUT, 3); return get(curl_exec($c)); });
attempt('curl unix', function () use ($unix) { $c = curl_init("http://x/"); curl_setopt($c, CURLOPT_UNIX_SOCKET_PATH, $unix); curl_setopt($c, CURLOPT_RETURNTRANSFER, 1); curl_setopt($c, CURLOPT_TIMEOUT, 3); return get(curl_exec($c)); });
attempt('socket', function () use ($tcp) { $s = socket_create(AF_INET, SOCK_STREAM, SOL_TCP); return @socket_connect($s, '127.0.0.1', $tcp) ? 'out' : 'no'; });
attempt('udp', function () use ($udp) { $s = socket_create(AF_INET, SOCK_DGRAM, SOL_UDP); return @socket_sendto($s, 'x', 1, 0, '127.0.0.1', $udp) ? 'sent' : 'no'; });
attempt('udp stream', function () use ($udp) { $s = @stream_socket_client("udp://127.0.0.1:$udp", $e, $m, 3); return $s && @fwrite($s, 'x') ? 'sent' : 'no'; });
attempt('unix stream', fn() => @stream_socket_client("unix://$unix", $e, $s, 3) ? 'out' : 'no');
attempt('mysqli', function () use ($tcp) { mysqli_report(MYSQLI_REPORT_OFF); $m = mysqli_init(); $m->options(MYSQLI_OPT_CONNECT_TIMEOUT, 2); return @$m->real_connect('127.0.0.1', 'u', 'p', 'd', (int)$tcp) ? 'out' : 'no'; });
attempt('http file', fn() => get(@file_get_contents("http://127.0.0.1:$tcp/")));
attempt('dns', fn() => @gethostbyname('example.com') === 'example.com' ? 'no' : (function_exists('gethostbyname') ? 'out' : 'no'));
attempt('dns record', fn() => @dns_get_record('example.com', DNS_A) ? 'out' : 'no');
attempt('mail', fn() => mail('a@example.com', 's', 'b') ? 'out' : 'no');
attempt('mail log', fn() => error_log('x', 1, 'a@example.com') ? 'out' : 'no');
attempt('exec', fn() => get(exec('echo out')));
attempt('shell', fn() => get(shell_exec('echo out')));
attempt('backticks', fn() => get(` + "`echo out`" + `));
attempt('system', fn() => get(system('echo out')));
attempt('passthru', fn() => passthru('echo out') === null ? 'out' : 'no');
attempt('popen', fn() => popen('echo out', 'r') ? 'out' : 'no');
attempt('proc_open', fn() => proc_open('echo out', [], $p) ? 'out' : 'no');
attempt('pcntl', function () { pcntl_exec('/bin/echo', ['out']); return 'no'; });
attempt('ffi', fn() => FFI::cdef('int getpid(void);')->getpid() ? 'out' : 'no');
attempt('file', fn() => get(@file_get_contents($secret)));
attempt('passwd', fn() => get(@file_get_contents('/etc/passwd')));
attempt('sibling', fn() => get(@file_get_contents(__DIR__ . '-sibling/secret')));
attempt('link', fn() => get(@file_get_contents(__DIR__ . '/link')));
attempt('write', fn() => @file_put_contents(dirname($secret) . '/written', 'x') ? 'out' : 'no');
attempt('basedir', function () use ($secret) { ini_set('open_basedir', '/'); return get(@file_get_contents($secret)); });
attempt('root', fn() => posix_geteuid() === 0 ? 'out' : 'no');
attempt('kill', fn() => posix_kill($own, 0) ? 'out' : 'no');
echo 'own temporary=', file_put_contents(sys_get_temp_dir() . '/mine', 'x') === 1 && sys_get_temp_dir() === $_GET['tmp'] ? 'yes' : 'no', "\n";
session_start(); echo 'session=', session_id() !== '' ? 'yes' : 'no', "\n";
`

func TestNothingGetsOut(t *testing.T) {
	everyMeans(t, func(t *testing.T, m means) {
		o := site(t, map[string]string{"tries.php": tries})
		outside := filepath.Dir(o.DocumentRoot)
		secret, sibling := filepath.Join(outside, "open", "secret"), filepath.Join(o.DocumentRoot+"-sibling", "secret")
		for _, path := range []string{secret, sibling} {
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("secret"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Dir(secret), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(secret, filepath.Join(o.DocumentRoot, "link")); err != nil {
			t.Fatal(err)
		}
		tcp, udp := listen(t)
		unixSocket := filepath.Join(outside, "service.sock")
		service(t, "unix", unixSocket)
		if err := os.Chmod(unixSocket, 0o777); err != nil {
			t.Fatal(err)
		}
		s := run(t, o, m)
		if s.room.network != nil && !s.room.hidden {
			t.Errorf("the sockets of services are not hidden")
		}
		t.Log(strings.Join(s.Isolation, "\n"))
		query := fmt.Sprintf("?tcp=%d&udp=%d&unix=%s&secret=%s&own=%d&tmp=%s", tcp, udp, unixSocket, secret, os.Getpid(), o.Temporary)
		status, body := get(t, s, "/tries.php"+query)
		if status != http.StatusOK {
			t.Fatalf("%d\n%s\n%s", status, body, s.Log())
		}
		said := map[string]string{}
		for line := range strings.Lines(body) {
			name, what, _ := strings.Cut(strings.TrimSpace(line), "=")
			said[name] = what
		}
		if len(said) < 34 {
			t.Errorf("%d tries, want 34:\n%s", len(said), body)
		}
		mayReach := map[string]string{}
		if s.room.network == nil {
			mayReach["unix stream"] = "only a mount namespace hides the sockets of services"
			mayReach["curl unix"] = mayReach["unix stream"]
		}
		if s.room.network == nil && !s.room.kernel {
			mayReach["mysqli"] = "PHP has no switch for it; the test's listener greets nobody as a server of MySQL"
		}
		for name, what := range said {
			switch {
			case name == "own temporary" || name == "session":
				if what != "yes" {
					t.Errorf("%s does not work: %s\n%s", name, what, s.Log())
				}
			case what != "no" && what != "sent" && mayReach[name] == "":
				t.Errorf("%s: %s", name, what)
			}
		}
	})
}

// listen listens at a port of TCP, on both loopbacks, and at one of UDP, and
// fails the test when anything comes.
func listen(t *testing.T) (tcp, udp int) {
	t.Helper()
	tcp = service(t, "tcp", "127.0.0.1:0").(*net.TCPAddr).Port
	if l, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", tcp)); err == nil {
		answer(t, l)
	}
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 10)
		if n, from, err := packets.ReadFrom(buf); err == nil {
			t.Errorf("a packet came from %s: %q", from, buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = packets.Close() // which ends the reading
		<-ended
	})
	return tcp, packets.LocalAddr().(*net.UDPAddr).Port
}

// service answers "out" to whoever comes.
func service(t *testing.T, network, address string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l)
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatalf("the test's own listener is not there: %v", err)
	}
	_ = c.Close() // it was there
	return l.Addr()
}

func answer(t *testing.T, l net.Listener) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// A request, if one comes.
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nout") // who is refused has no use for it
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
}

func TestIsolationIsSaid(t *testing.T) {
	o := site(t, nil)
	s := run(t, o, means{true, true})
	said := strings.Join(s.Isolation, "\n")
	root := os.Geteuid() == 0
	if inside := strings.Contains(said, "network namespace: nothing but its own loopback"); inside != (s.room.network != nil) {
		t.Errorf("says:\n%s", said)
	}
	if !root && !strings.Contains(said, "no network namespace (needs root)") {
		t.Errorf("an ordinary user is told:\n%s", said)
	}
	if root && !strings.Contains(said, "runs as user 65534") {
		t.Errorf("says:\n%s", said)
	}
	bare := run(t, o, means{})
	if got := bare.Isolation[0]; !strings.Contains(got, "PHP's own functions for the network are switched off") {
		t.Error(got)
	}
	if s.Version == "" || !strings.HasPrefix(s.Base, "http://127.0.0.1:") {
		t.Errorf("%+v", s)
	}
}

// processes are those whose command line names a folder.
func processes(t *testing.T, dir string) []int {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != os.Getpid() && bytes.Contains(text, []byte(dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestCloseLeavesNothing(t *testing.T) {
	everyMeans(t, func(t *testing.T, m means) {
		o := site(t, map[string]string{"hang.php": "<?php echo 'x'; flush(); while (true) usleep(1000);", "a.php": "a"})
		s := run(t, o, m)
		if status, body := get(t, s, "/a.php"); status != 200 || body != "a" {
			t.Fatal(status, body)
		}
		before := processes(t, o.DocumentRoot)
		if s.process.ownWorld != (len(before) > 1) || len(before) == 0 {
			t.Fatalf("own world %v with the processes %v", s.process.ownWorld, before)
		}
		// One of them is in the middle of a page.
		resp, err := s.Client().Get(s.Base + "/hang.php")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // it was cut off
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if after := processes(t, o.DocumentRoot); len(after) != 0 {
			t.Errorf("the processes %v are left", after)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Client().Get(s.Base + "/a.php"); err == nil {
			t.Error("it answers after it was closed")
		}
	})
}

// serveUntilKilled is what TestNothingOutlivesUs starts.
func serveUntilKilled(dir string) {
	s, err := start(context.Background(), Options{DocumentRoot: filepath.Join(dir, "www"), Within: []string{filepath.Join(dir, "www")},
		Temporary: filepath.Join(dir, "tmp"), UID: nobody, GID: nobody}, means{os.Getenv("PHPSERVER_TEST_MEANS") == "all", true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("serves", s.Base)
	select {}
}

func TestNothingOutlivesUs(t *testing.T) {
	for _, m := range []string{"all", "none"} {
		t.Run(m, func(t *testing.T) {
			o := site(t, nil)
			dir := filepath.Dir(o.DocumentRoot)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PHPSERVER_TEST_SITE="+dir, "PHPSERVER_TEST_MEANS="+m)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 500)
			n, err := out.Read(line)
			if err != nil || !strings.HasPrefix(string(line[:n]), "serves") {
				t.Fatalf("%v %s", err, line[:n])
			}
			pids := processes(t, o.DocumentRoot)
			if len(pids) == 0 {
				t.Fatal("PHP does not run")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			// The kernel has signalled them; being gone takes it a moment.
			for t.Context().Err() == nil {
				left := processes(t, o.DocumentRoot)
				if len(left) == 0 {
					return
				}
				deadline, ok := t.Deadline()
				if ok && deadline.Before(time.Now().Add(10*time.Second)) {
					t.Fatalf("%v are left", left)
				}
			}
		})
	}
}

func TestLog(t *testing.T) {
	o := site(t, map[string]string{
		"warn.php":  `<?php trigger_error("look at this", E_USER_WARNING); echo "shown";`,
		"fatal.php": `<?php nothing_like_this();`,
		"deep.php":  `<?php ini_set('memory_limit', -1); function f($n) { $a = str_repeat('x', 1 << 20); return f($n + 1) . $a; } f(0);`,
		"loud.php":  `<?php for ($i = 0; $i < 3000; $i++) error_log(str_repeat('l', 200) . " $i");`,
	})
	o.Settings = map[string]string{"memory_limit": "64M", "allow_url_fopen": "1", "disable_functions": "", "open_basedir": "/"}
	s := run(t, o, means{true, true})
	if status, body := get(t, s, "/warn.php"); status != 200 || body != "shown" {
		t.Error(status, body)
	}
	if status, body := get(t, s, "/fatal.php"); status != 500 || body != "" {
		t.Error(status, body)
	}
	// What was printed last is on its way until the end.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log := s.Log()
	for _, want := range []string{"look at this", "nothing_like_this", "[500]: GET /fatal.php"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "Accepted") {
		t.Errorf("the log has what is said of every request:\n%s", log)
	}
	s = run(t, o, means{true, true})
	// Without PHP's own limit, the address space ends it, and not the machine's memory.
	if resp, err := s.Client().Get(s.Base + "/deep.php"); err == nil {
		_ = resp.Body.Close() // nothing is read
		if resp.StatusCode != 500 {
			t.Errorf("recursion without end: %d", resp.StatusCode)
		}
	}
	if status, _ := get(t, s, "/loud.php"); status != 200 {
		t.Error(status)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if log = s.Log(); len(log) > keptBytes+10 || !strings.HasPrefix(log, "…\n") || !strings.Contains(log, " 2999") {
		t.Errorf("the log has %d bytes, and ends with %q", len(log), log[len(log)-100:])
	}
}

func TestClientReachesNothingElse(t *testing.T) {
	tcp, _ := listen(t)
	o := site(t, map[string]string{
		"away.php": fmt.Sprintf(`<?php header("Location: http://127.0.0.1:%d/");`, tcp),
		"long.php": `<?php $x = str_repeat('x', 1 << 20); for ($i = 0; $i < 65; $i++) echo $x;`,
	})
	s := run(t, o, means{true, true})
	if status, _ := get(t, s, "/away.php"); status != http.StatusFound {
		t.Errorf("status %d, want the redirect itself", status)
	}
	for _, other := range []string{fmt.Sprintf("http://127.0.0.1:%d/", tcp), "https" + strings.TrimPrefix(s.Base, "http"), "http://localhost:8080/"} {
		if _, err := s.Client().Get(other); err == nil || !strings.Contains(err.Error(), "is not asked") {
			t.Errorf("%s: %v", other, err)
		}
	}
	resp, err := s.Client().Get(s.Base + "/long.php")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if n != answerBytes || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	_ = resp.Body.Close() // the error was seen
}

func TestConcurrentServers(t *testing.T) {
	var servers []*Server
	for i := range 3 {
		o := site(t, map[string]string{"who.php": fmt.Sprint(i)})
		servers = append(servers, run(t, o, means{i != 1, true}))
	}
	for i, s := range servers {
		if _, body := get(t, s, "/who.php"); body != fmt.Sprint(i) {
			t.Errorf("server %d is %q", i, body)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Run("root", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("an ordinary user runs it as itself")
		}
		o := site(t, nil)
		o.UID = 0
		if _, err := Start(t.Context(), o); core.CodeOf(err) != core.CodeUsage {
			t.Error(err)
		}
	})
	t.Run("no PHP", func(t *testing.T) {
		o := site(t, nil)
		o.PHP = filepath.Join(o.Temporary, "php")
		if _, err := Start(t.Context(), o); core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(core.HintOf(err), "apt install php-cli") {
			t.Error(err)
		}
	})
	t.Run("PHP that does not work", func(t *testing.T) {
		o := site(t, nil)
		o.PHP = filepath.Join(o.DocumentRoot, "php")
		if err := os.WriteFile(o.PHP, []byte("#!/bin/sh\necho this is the reason >&2\nexit 3\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(t.Context(), o); core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "this is the reason") {
			t.Error(err)
		}
	})
	t.Run("no mysqli", func(t *testing.T) {
		o := site(t, nil)
		php, err := exec.LookPath("php")
		if err != nil {
			t.Fatal(err)
		}
		o.PHP, o.Socket = filepath.Join(o.DocumentRoot, "php"), "/nowhere.sock"
		if err := os.WriteFile(o.PHP, []byte("#!/bin/sh\nexec "+php+" -n \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(t.Context(), o); core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "mysqli") {
			t.Error(err)
		}
	})
	t.Run("temporary folder of others", func(t *testing.T) {
		o := site(t, nil)
		o.Temporary = "/etc"
		if _, err := Start(t.Context(), o); err == nil || (os.Geteuid() == 0 && core.CodeOf(err) != core.CodeDisk) {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		o := site(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Start(ctx, o); core.CodeOf(err) != core.CodeCancelled {
			t.Error(err)
		}
		if left := processes(t, o.DocumentRoot); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
	})
	t.Run("the whole file system", func(t *testing.T) {
		o := site(t, nil)
		o.Within = []string{"/"}
		if _, err := Start(t.Context(), o); err == nil {
			t.Error("was opened to it")
		}
	})
	t.Run("colon", func(t *testing.T) {
		o := site(t, nil)
		o.Within = append(o.Within, "/a:b")
		if _, err := Start(t.Context(), o); err == nil {
			t.Error("was given as two folders")
		}
	})
}

// A port that another takes between the choice and PHP's start is no failure,
// and never is another's server taken for ours.
func TestPortTaken(t *testing.T) {
	o := site(t, map[string]string{"a.php": "a"})
	program, err := find("")
	if err != nil {
		t.Fatal(err)
	}
	o.Log = nil
	r, err := newRoom(o, program, means{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	taken, _ := listen(t)
	settings, err := o.settings(false)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = r.serveAt(t.Context(), taken, program, settings, o)
	if err == nil || !strings.Contains(err.Error(), "Address already in use") || !strings.Contains(err.Error(), errPortTaken.Error()) {
		t.Errorf("%v", err)
	}
	if left := processes(t, o.DocumentRoot); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

func TestQuoted(t *testing.T) {
	for value, want := range map[string]string{"a b;c": "'a b;c'", "it's": `"it's"`, "${x}": "'${x}'", "": "''"} {
		if got, err := quoted(value); err != nil || got != want {
			t.Errorf("%q: %s, %v", value, got, err)
		}
	}
	for _, value := range []string{"a\nb", `it's "x"`, "it's $x"} {
		if got, err := quoted(value); err == nil {
			t.Errorf("%q: %s", value, got)
		}
	}
}
