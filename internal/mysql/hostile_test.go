package mysql_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// peer is a server that does what a test says.
type peer struct {
	net.Conn
	seq byte
}

func (p *peer) send(payload []byte) {
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), p.seq}
	p.seq++
	_, _ = p.Write(append(head, payload...)) // the client may be gone, as some tests want
}

// read reads one packet; nil when the client is gone.
func (p *peer) read() []byte {
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return nil
	}
	p.seq = head[3] + 1
	payload := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	if _, err := io.ReadFull(p, payload); err != nil {
		return nil
	}
	return payload
}

func (p *peer) ok() { p.send([]byte{0, 0, 0, 2, 0, 0, 0}) }

var greetingBytes = func() []byte {
	g := append([]byte{10}, "5.5.5-10.11.0-MariaDB\x00"...)
	g = binary.LittleEndian.AppendUint32(g, 42)
	g = append(g, "abcdefgh\x00"...)
	const caps = 0xffffffff &^ (1 << 11) // no TLS
	g = append(g, caps&0xff, caps>>8&0xff, 45, 2, 0, caps>>16&0xff, caps>>24&0xff, 21)
	g = append(g, make([]byte, 10)...)
	g = append(g, "ijklmnopqrst\x00"...)
	return append(g, "mysql_native_password\x00"...)
}()

// serve runs script for one client at a time and returns how to connect.
func serve(t *testing.T, script func(p *peer)) mysql.Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			script(&peer{Conn: c})
			_ = c.Close()
		}
	}()
	return mysql.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "u", Password: core.NewSecret("topsecret")}
}

// loggedIn lets the client in and answers its first statements, then runs
// script with every later one.
func loggedIn(script func(p *peer, query string)) func(p *peer) {
	return func(p *peer) {
		p.send(greetingBytes)
		if p.read() == nil {
			return
		}
		p.ok()
		for {
			q := p.read()
			switch {
			case q == nil || q[0] == 1:
				return
			case bytes.HasPrefix(q[1:], []byte("SET ")):
				p.ok()
			default:
				script(p, string(q[1:]))
			}
		}
	}
}

func connect(t *testing.T, config mysql.Config) *mysql.Conn {
	t.Helper()
	c, err := mysql.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPeerThatIsNoServer(t *testing.T) {
	cut := func(n int) []byte { return greetingBytes[:n] }
	cases := map[string]struct {
		script func(p *peer)
		want   string
	}{
		"hangs up":        {func(p *peer) {}, "the connection was closed during the login"},
		"web server":      {func(p *peer) { _, _ = p.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) }, ""},
		"mail server":     {func(p *peer) { _, _ = p.Write([]byte("220 mail ESMTP\r\n")) }, ""},
		"zeros":           {func(p *peer) { _, _ = p.Write(make([]byte, 4096)) }, ""},
		"ones":            {func(p *peer) { _, _ = p.Write(bytes.Repeat([]byte{0xff}, 4096)) }, ""},
		"endless packets": {func(p *peer) { p.endless() }, "bytes"},
		"X protocol":      {func(p *peer) { p.send([]byte{11, 8, 5, 26, 0}) }, "does not speak"},
		"refuses":         {func(p *peer) { p.send(append([]byte{0xff, 0x6a, 0x04}, "Host 'x' is not allowed"...)) }, "Host 'x' is not allowed"},
		"answers with an old error": {func(p *peer) {
			p.send(greetingBytes)
			p.read()
			p.send([]byte{0xff, 0x15, 0x04})
		}, "1045"},
		"empty answer":   {func(p *peer) { p.send(greetingBytes); p.read(); p.send(nil) }, "does not speak"},
		"unknown answer": {func(p *peer) { p.send(greetingBytes); p.read(); p.send([]byte{0x33}) }, "does not speak"},
		"out of order":   {func(p *peer) { p.send(greetingBytes); p.read(); p.seq = 9; p.ok() }, "out of order"},
		"short OK":       {func(p *peer) { p.send(greetingBytes); p.read(); p.send([]byte{0, 0}) }, "malformed OK"},
		"old switch":     {func(p *peer) { p.send(greetingBytes); p.read(); p.send([]byte{0xfe}) }, "mysql_old_password"},
		"short salt":     {func(p *peer) { p.send(greetingBytes); p.read(); p.send([]byte("\xfemysql_native_password\x00abc")) }, "does not speak"},
		"unknown plugin": {func(p *peer) {
			p.send(greetingBytes)
			p.read()
			p.send([]byte("\xfedialog\x00" + strings.Repeat("s", 21)))
		}, `"dialog"`},
		"key that is none": {func(p *peer) {
			p.askSHA256()
			p.send([]byte("\x01-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
		}, ""},
		"no key":            {func(p *peer) { p.askSHA256(); p.send([]byte{1}) }, "does not speak"},
		"endless questions": {func(p *peer) { p.send(greetingBytes); p.questions() }, "does not speak"},
	}
	for n := range len(greetingBytes) {
		cases[fmt.Sprintf("greeting cut to %d", n)] = struct {
			script func(p *peer)
			want   string
		}{func(p *peer) { p.send(cut(n)) }, ""}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			config := serve(t, c.script)
			_, err := mysql.Connect(t.Context(), config)
			if core.CodeOf(err) != core.CodeDatabase {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q is not in: %v", c.want, err)
			}
			if strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the password is in: %v", err)
			}
		})
	}
}

// endless sends packets that are always continued by the next.
func (p *peer) endless() {
	chunk := make([]byte, 1<<24-1)
	for {
		if _, err := p.Write([]byte{0xff, 0xff, 0xff, p.seq}); err != nil {
			return
		}
		p.seq++
		if _, err := p.Write(chunk); err != nil {
			return
		}
	}
}

func (p *peer) askSHA256() {
	p.send(greetingBytes)
	p.read()
	p.send([]byte("\xfesha256_password\x00" + strings.Repeat("s", 20) + "\x00"))
	p.read()
}

func (p *peer) questions() {
	for p.read() != nil {
		p.send([]byte("\xfemysql_native_password\x00" + strings.Repeat("s", 20) + "\x00"))
	}
}

func TestPasswordIsNeverSentInClear(t *testing.T) {
	var heard bytes.Buffer
	for _, plugin := range []string{"mysql_clear_password", "dialog", "sha256_password", "caching_sha2_password"} {
		t.Run(plugin, func(t *testing.T) {
			heard.Reset()
			config := serve(t, func(p *peer) {
				p.send(greetingBytes)
				heard.Write(p.read())
				p.send([]byte("\xfe" + plugin + "\x00" + strings.Repeat("s", 20) + "\x00"))
				heard.Write(p.read())
				p.send([]byte{1, 4}) // "full authentication, please"
				heard.Write(p.read())
			})
			if _, err := mysql.Connect(t.Context(), config); core.CodeOf(err) != core.CodeDatabase {
				t.Errorf("got %v", err)
			}
		})
		if strings.Contains(heard.String(), "topsecret") {
			t.Errorf("%s: the password went over the network", plugin)
		}
	}
}

func TestSilentPeer(t *testing.T) {
	release := make(chan struct{})
	config := serve(t, func(p *peer) { <-release })
	t.Cleanup(func() { close(release) })
	t.Run("own limit", func(t *testing.T) {
		c := config
		c.Timeout = 50 * time.Millisecond
		_, err := mysql.Connect(t.Context(), c)
		wantError(t, err, core.CodeDatabase, "no answer within 50ms")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stop := time.AfterFunc(50*time.Millisecond, cancel)
		defer stop.Stop()
		_, err := mysql.Connect(ctx, config)
		wantError(t, err, core.CodeCancelled)
	})
	t.Run("deadline of the caller", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := mysql.Connect(ctx, config); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// column is the definition of one column, as good as any.
var column = []byte("\x03def\x00\x00\x00\x01a\x00\x0c\x3f\x00\x00\x00\x00\x00\xfd\x00\x00\x00\x00\x00")

var eof = []byte{0xfe, 0, 0, 2, 0}

// result starts a result of n columns.
func (p *peer) result(n int) {
	p.send([]byte{byte(n)})
	for range n {
		p.send(column)
	}
	p.send(eof)
}

// discard takes rows and forgets them.
type discard struct{}

func (discard) WriteRow([]byte, bool) error { return nil }

func TestHostileResults(t *testing.T) {
	for name, answer := range map[string]func(p *peer){
		"hangs up":                  func(p *peer) { _ = p.Close() },
		"hangs up in the rows":      func(p *peer) { p.result(1); _ = p.Close() },
		"asks for a file":           func(p *peer) { p.send([]byte("\xfb/etc/passwd")) },
		"empty":                     func(p *peer) { p.send(nil) },
		"zero columns":              func(p *peer) { p.send([]byte{0xfc, 0, 0}) },
		"more columns than asked":   func(p *peer) { p.result(2) },
		"2^64 columns":              func(p *peer) { p.send([]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) },
		"NULL columns":              func(p *peer) { p.send([]byte{0xfc}) },
		"short error":               func(p *peer) { p.send([]byte{0xff, 1}) },
		"short OK":                  func(p *peer) { p.send([]byte{0, 0xfc}) },
		"row too short":             func(p *peer) { p.result(1); p.send([]byte{5, 'a'}) },
		"row with a value too many": func(p *peer) { p.result(1); p.send([]byte{1, 'a', 1, 'b'}) },
		"row without values":        func(p *peer) { p.result(1); p.send(nil) },
		"row of 2^63 bytes":         func(p *peer) { p.result(1); p.send([]byte("\xfe\xff\xff\xff\xff\xff\xff\xff\x7fabc")) },
		"row with a cut length":     func(p *peer) { p.result(1); p.send([]byte{0xfd, 1}) },
		"row that is no row":        func(p *peer) { p.result(1); p.send([]byte{0xfc}) },
		"out of order":              func(p *peer) { p.result(1); p.seq += 3; p.send([]byte{1, 'a'}) },
		"definitions without end":   func(p *peer) { p.send([]byte{1}); p.endless() },
		"large row, then nothing": func(p *peer) {
			p.result(1)
			_, _ = p.Write([]byte{0xff, 0xff, 0xff, p.seq, 0xfe, 0, 0, 0, 0, 1, 0, 0, 0, 'x'})
			_ = p.Close()
		},
		"large row of 2^62 bytes": func(p *peer) {
			p.result(1)
			p.send(append([]byte{0xfe, 0, 0, 0, 0, 0, 0, 0, 0x40}, make([]byte, 2<<20)...))
		},
		"large row that is shorter than it says": func(p *peer) {
			p.result(1)
			p.send(append([]byte{0xfe, 0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 2<<20)...))
		},
		"large row that ends in a length": func(p *peer) {
			p.result(1)
			p.send(append(append([]byte{0xfd, 0, 0, 0x20}, make([]byte, 2<<20)...), 0xfd))
		},
		"large row with a value too many": func(p *peer) {
			p.result(1)
			p.send(append(append([]byte{0xfd, 0, 0, 0x20}, make([]byte, 2<<20)...), 0))
		},
		"large error": func(p *peer) { p.result(1); p.send(append([]byte{0xff}, make([]byte, 2<<20)...)) },
	} {
		t.Run(name, func(t *testing.T) {
			config := serve(t, loggedIn(func(p *peer, _ string) { answer(p) }))
			c := connect(t, config)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.Stream(t.Context(), "SELECT a", 1, &mysql.Encoder{Sink: discard{}, Columns: 1})
			runtime.ReadMemStats(&after)
			wantError(t, err, core.CodeDatabase)
			if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
				t.Errorf("%d MiB were allocated", n>>20)
			}
			_, err = c.Exec(t.Context(), "SELECT 1")
			if core.CodeOf(err) != core.CodeDatabase {
				t.Errorf("a broken session goes on: %v", err)
			}
		})
	}
}

// TestNoFileIsEverSent has a server that asks for a file in answer to every
// kind of statement, and records all that the client sends after it.
func TestNoFileIsEverSent(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the file's content"), 0o600); err != nil {
		t.Fatal(err)
	}
	heard := make(chan []byte, 10)
	config := serve(t, loggedIn(func(p *peer, _ string) {
		p.send([]byte("\xfb" + secret))
		sent, _ := io.ReadAll(p) // until the client hangs up
		heard <- sent
	}))
	for name, do := range map[string]func(c *mysql.Conn) error{
		"query": func(c *mysql.Conn) error { _, err := c.Query(t.Context(), "SELECT 1"); return err },
		"exec":  func(c *mysql.Conn) error { _, err := c.Exec(t.Context(), "INSERT 1"); return err },
		"stream": func(c *mysql.Conn) error {
			return c.Stream(t.Context(), "SELECT 1", 1, &mysql.Encoder{Sink: discard{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, do(connect(t, config)), core.CodeDatabase, "local file")
			if sent := <-heard; len(sent) > 0 {
				t.Errorf("the client sent %q", sent)
			}
		})
	}
	t.Run("load sends its own rows, whatever file is asked for", func(t *testing.T) {
		config := serve(t, loggedIn(func(p *peer, _ string) {
			p.send([]byte("\xfb" + secret))
			rows := p.read()
			p.read()
			heard <- rows
			p.ok()
		}))
		if _, err := connect(t, config).LoadLocal(t.Context(), "LOAD DATA", strings.NewReader("1\n")); err != nil {
			t.Error(err)
		}
		if rows := <-heard; string(rows) != "1\n" {
			t.Errorf("the client sent %q", rows)
		}
	})
}

func TestHostileAnswersToLoad(t *testing.T) {
	for name, answer := range map[string]func(p *peer){
		"hangs up":       func(p *peer) { _ = p.Close() },
		"wants no rows":  func(p *peer) { p.ok() },
		"gives rows":     func(p *peer) { p.result(1) },
		"hangs up later": func(p *peer) { p.send([]byte{0xfb}); p.read(); _ = p.Close() },
		"nonsense at the end": func(p *peer) {
			p.send([]byte{0xfb})
			p.read()
			p.read()
			p.send([]byte{7})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, serve(t, loggedIn(func(p *peer, _ string) { answer(p) })))
			_, err := c.LoadLocal(t.Context(), "LOAD DATA", strings.NewReader("1\n"))
			wantError(t, err, core.CodeDatabase)
		})
	}
	t.Run("rows that cannot be read", func(t *testing.T) {
		ended := make(chan []byte, 1)
		c := connect(t, serve(t, loggedIn(func(p *peer, _ string) {
			p.send([]byte{0xfb})
			sent, _ := io.ReadAll(p)
			ended <- sent
		})))
		mine := errors.New("the repository is gone")
		_, err := c.LoadLocal(t.Context(), "LOAD DATA", io.MultiReader(strings.NewReader("1\n"), iotest.ErrReader(mine)))
		if !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		// An empty packet would tell the server that the file is whole.
		if sent := <-ended; bytes.Contains(sent, []byte{0, 0, 0}) {
			t.Errorf("the client ended the file: %q", sent)
		}
	})
}

// A client's error in the middle of rows ends the session and is not taken for
// the server's.
func TestHandlerError(t *testing.T) {
	c := connect(t, serve(t, loggedIn(func(p *peer, _ string) {
		p.result(1)
		p.send([]byte{1, 'a'})
		p.send(eof)
	})))
	mine := errors.New("the disk is full")
	err := c.Stream(t.Context(), "SELECT a", 1, &mysql.Encoder{Sink: failing{mine}})
	if !errors.Is(err, mine) || core.CodeOf(err) != core.CodeFailed {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) WriteRow([]byte, bool) error { return f.err }
