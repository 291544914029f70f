package crash

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// pause says where a process is held at a statement that it sends.
type pause int

const (
	pass   pause = iota // it is not held
	before              // the server does not get the statement
	during              // the server gets it, and the process hears nothing more
	after               // as during, and the server has answered
)

// wire is a way to the database server that reads the statements that pass and
// holds the process at the one that a test chooses.
type wire struct {
	listener net.Listener
	target   string
	judge    func(statement string) pause // called for one statement at a time
	reached  chan struct{}                // closed when the process is held
	on       chan struct{}                // closed when what is held before a statement goes on

	mu    sync.Mutex
	held  bool
	at    string // the statement
	said  []string
	conns []net.Conn
	pumps sync.WaitGroup

	closed chan struct{}
	once   sync.Once
}

func newWire(t *testing.T, target string, judge func(statement string) pause) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, target: target, judge: judge, reached: make(chan struct{}), on: make(chan struct{}), closed: make(chan struct{})}
	go w.serve()
	t.Cleanup(w.close)
	return w
}

func (w *wire) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

func (w *wire) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client, server)
		s := &session{wire: w, client: client, server: server}
		w.pumps.Go(s.up)
		w.pumps.Go(s.down)
		w.mu.Unlock()
	}
}

func (w *wire) close() {
	w.once.Do(func() { close(w.closed) })
	w.listener.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.pumps.Wait()
}

// release lets what is held before a statement go on.
func (w *wire) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judge = func(string) pause { return pass }
	close(w.on)
}

// hold decides about a statement. Once a process is held, all of it is.
func (w *wire) hold(statement string) pause {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.on:
		return pass
	default:
	}
	if w.held {
		return before
	}
	w.said = append(w.said, statement)
	p := w.judge(statement)
	if p != pass {
		w.held, w.at = true, statement
		if p != after {
			close(w.reached)
		}
	}
	return p
}

// session is one connection through a wire.
type session struct {
	wire           *wire
	client, server net.Conn

	mu    sync.Mutex
	state pause
	told  bool
}

const comQuery = 0x03

// up passes what the client says, packet by packet.
func (s *session) up() {
	defer s.server.Close()
	var header [4]byte
	for {
		if _, err := io.ReadFull(s.client, header[:]); err != nil {
			return
		}
		body := make([]byte, int(binary.LittleEndian.Uint32(append(header[:3:3], 0))))
		if _, err := io.ReadFull(s.client, body); err != nil {
			return
		}
		p := pass
		// A command begins a row of packets.
		if header[3] == 0 && len(body) > 1 && body[0] == comQuery {
			p = s.wire.hold(string(body[1:]))
		}
		s.mu.Lock()
		s.state = p
		s.mu.Unlock()
		if p == before {
			select {
			case <-s.wire.on:
				p = pass
				s.mu.Lock()
				s.state = p
				s.mu.Unlock()
			case <-s.wire.closed:
			}
		}
		if p != before {
			if _, err := s.server.Write(append(header[:], body...)); err != nil {
				return
			}
		}
		if p != pass {
			io.Copy(io.Discard, s.client) // until it is ended
			return
		}
	}
}

// down passes what the server answers.
func (s *session) down() {
	defer s.client.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := s.server.Read(buffer)
		s.mu.Lock()
		state := s.state
		if n > 0 && state == after && !s.told {
			s.told = true
			close(s.wire.reached)
		}
		s.mu.Unlock()
		if state == pass && n > 0 {
			if _, werr := s.client.Write(buffer[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			if state == before || state == after {
				io.Copy(io.Discard, s.client)
			}
			return
		}
	}
}

// changing says whether a statement changes something that outlives its session.
func changing(statement string) bool {
	for _, verb := range []string{"RENAME ", "DROP ", "CREATE ", "ALTER ", "INSERT ", "UPDATE ", "DELETE ", "REPLACE ", "LOAD ", "TRUNCATE "} {
		if strings.HasPrefix(statement, verb) {
			return true
		}
	}
	return false
}

// nth holds at the n-th changing statement, from 0, of a switch of databases or
// its way back, and what belongs to it after users are in.
func nth(n int, where pause) func(string) pause {
	began, seen := false, 0
	return func(statement string) pause {
		began = began || strings.Contains(statement, "backstay-shadow-")
		if !began || !changing(statement) {
			return pass
		}
		if seen++; seen <= n {
			return pass
		}
		return where
	}
}

// first holds at the first statement that contains a text.
func first(text string, where pause) func(string) pause {
	return func(statement string) pause {
		if strings.Contains(statement, text) {
			return where
		}
		return pass
	}
}
