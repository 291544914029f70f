package shadow_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// gate stands between client and server, counts the statements that change
// something, and cuts the line at one of them.
type gate struct {
	listener net.Listener
	socket   string

	mu     sync.Mutex
	seen   int
	at     int  // the statement at which it cuts; 0: never
	after  bool // the server does the statement, and nobody hears of it
	closed bool // after the cut nobody comes through
	what   string
}

func newGate(t *testing.T, config mysql.Config) (*gate, mysql.Config) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, socket: config.Socket}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.serve(c)
		}
	}()
	config.Host, config.Port, config.Socket = "127.0.0.1", l.Addr().(*net.TCPAddr).Port, ""
	return g, config
}

// arm has the line cut at the n-th statement from now.
func (g *gate) arm(n int, after, forGood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.at, g.after, g.closed, g.what = 0, n, after, false, ""
	if forGood {
		g.at = -g.at // below zero: for good
	}
}

// open lets everybody through again; it returns at which statement the line was
// cut, "" when it was not.
func (g *gate) open() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.closed = 0, false
	return g.what
}

func (g *gate) serve(client net.Conn) {
	server, err := net.Dial("unix", g.socket)
	if err != nil {
		_ = client.Close()
		return
	}
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	hangUp := func() {
		_ = client.Close()
		_ = server.Close()
	}
	if closed {
		hangUp()
		return
	}
	var cut sync.Mutex
	mute := false // what the server says is swallowed, and its end of the line closed
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			cut.Lock()
			if mute || err != nil {
				cut.Unlock()
				hangUp()
				return
			}
			_, err = client.Write(buf[:n])
			cut.Unlock()
			if err != nil {
				hangUp()
				return
			}
		}
	}()
	head := make([]byte, 4)
	for {
		if _, err := io.ReadFull(client, head); err != nil {
			hangUp()
			return
		}
		size := int(binary.LittleEndian.Uint32(head) & 0xffffff)
		body := make([]byte, size)
		if _, err := io.ReadFull(client, body); err != nil {
			hangUp()
			return
		}
		now, after := g.cuts(head, body)
		if now && !after {
			hangUp()
			return
		}
		if now {
			cut.Lock()
			mute = true
			cut.Unlock()
		}
		if _, err := server.Write(append(head, body...)); err != nil {
			hangUp()
			return
		}
		head = make([]byte, 4)
	}
}

// cuts says whether the line is cut at this packet.
func (g *gate) cuts(head, body []byte) (now, after bool) {
	if head[3] != 0 || len(body) == 0 || body[0] != 3 {
		return false, false
	}
	text := string(body[1:])
	word, _, _ := strings.Cut(text, " ")
	if !strings.Contains("RENAME ALTER DROP CREATE", word) {
		return false, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return true, false
	}
	g.seen++
	if g.at == 0 || g.seen != max(g.at, -g.at) {
		return false, false
	}
	g.what = text[:min(len(text), 80)]
	g.closed = g.at < 0
	return true, g.after
}

// TestCutAtEveryStatement: backstay is killed before and after each statement
// of a switch and of a revert. What is there can be told, and both ways lead out.
func TestCutAtEveryStatement(t *testing.T) {
	r, abroad := newRich(t)
	defer r.dismantle(abroad)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	before := r.picture(r.root)
	r.doSwitch()
	after := r.picture(r.root)
	r.revert()
	g, through := newGate(t, r.root)
	cuts, first, steps := 0, 1, 1
	if os.Getenv(slowVariable) == "" {
		steps = 6 // each way begins at another statement
	}
	for _, forward := range []bool{true, false} {
		for _, late := range []bool{false, true} {
			first++
			for n := 1 + first%steps; ; n += steps {
				if !forward { // from the new state
					r.quietly(true)
				}
				g.arm(n, late, true)
				r.config = through
				err := r.turn(forward)
				what := g.open()
				r.config = r.root
				if what == "" {
					r.fatal(err)
					if forward {
						r.quietly(false)
					}
					break
				}
				cuts++
				if err == nil {
					t.Fatalf("no error though the line was cut at %s", what)
				}
				if !errors.Is(err, shadow.ErrUnfinished) && r.s.Doing != "" {
					t.Fatalf("cut at %s: the error does not say that the state is mixed: %v", what, err)
				}
				r.reload()
				state, err := r.s.State(t.Context(), r.config)
				r.fatal(err)
				if state == shadow.StateNothing {
					t.Fatalf("cut at %s: the state is %s", what, state)
				}
				// One way out and then the other, in turn.
				way := (cuts%2 == 0) == forward
				r.quietly(way)
				where := fmt.Sprintf("forward %v, late %v, cut %d at %s, state %s, then switch %v", forward, late, n, what, state, way)
				if way {
					r.same(where, after, r.picture(r.root))
					r.quietly(false)
				}
				r.same(where+", at last", before, r.picture(r.root))
				if t.Failed() {
					return
				}
			}
		}
	}
	t.Logf("%d cuts", cuts)
	if cuts < 4*(80/4/steps) { // each of the four ways is cut every so many statements
		t.Errorf("only %d cuts", cuts)
	}
}

func (r *rig) turn(forward bool) error {
	var err error
	if forward {
		_, err = r.s.Switch(r.t.Context(), r.config, r.save)
	} else {
		_, err = r.s.Revert(r.t.Context(), r.config, r.save)
	}
	return err
}

// quietly goes to a side by the direct way, and settles there.
func (r *rig) quietly(forward bool) {
	r.t.Helper()
	r.fatal(r.turn(forward))
	r.reload()
	want := shadow.StateOld
	if forward {
		want = shadow.StateNew
	}
	r.wantState(want)
	if forward {
		r.fatal(r.s.Prove(r.t.Context(), r.config))
	}
	r.settle()
}

// TestSessionKilled: the session of a switch is ended at each of its
// statements. The switch goes back by itself.
func TestSessionKilled(t *testing.T) {
	r, abroad := newRich(t)
	defer r.dismantle(abroad)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	before := r.picture(r.root)
	g, through := newGate(t, r.root)
	steps := 1
	if os.Getenv(slowVariable) == "" {
		steps = 5
	}
	for _, late := range []bool{false, true} {
		for n := 2; ; n += steps {
			g.arm(n, late, false)
			r.config = through
			err := r.turn(true)
			what := g.open()
			r.config = r.root
			if what == "" {
				r.fatal(err)
				r.quietly(false)
				break
			}
			if err == nil || errors.Is(err, shadow.ErrUnfinished) {
				t.Fatalf("cut at %s: %v", what, err)
			}
			r.reload()
			r.wantState(shadow.StateOld)
			r.settle()
			if n%5 == 2 {
				r.same("after a cut at "+what, before, r.picture(r.root))
			}
			if t.Failed() {
				return
			}
		}
	}
}
