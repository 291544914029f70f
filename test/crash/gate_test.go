package crash

import (
	"io"
	"net"
	"sync"
	"testing"
)

// gate is a way to the database server that lets so many bytes through, in
// both directions together, and then nothing: a process that uses it stands
// still at that moment for as long as the test wants.
type gate struct {
	listener net.Listener
	target   string
	reached  chan struct{} // closed when the bytes have passed

	mu     sync.Mutex
	left   int64
	closed chan struct{}
	conns  []net.Conn
	pumps  sync.WaitGroup
}

func newGate(t *testing.T, target string, pass int64) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, target: target, left: pass, reached: make(chan struct{}), closed: make(chan struct{})}
	go g.serve()
	t.Cleanup(g.close)
	return g
}

func (g *gate) port() int { return g.listener.Addr().(*net.TCPAddr).Port }

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", g.target)
		if err != nil {
			client.Close()
			continue
		}
		g.mu.Lock()
		g.conns = append(g.conns, client, server)
		g.pumps.Go(func() { g.pump(server, client) })
		g.pumps.Go(func() { g.pump(client, server) })
		g.mu.Unlock()
	}
}

// pump copies until the gate closes; then it waits for the end of the test.
// A side that hangs up is hung up on.
func (g *gate) pump(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 8<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !g.pass(int64(n)) {
			// What the process does now it does to a server that is silent.
			io.Copy(io.Discard, from)
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (g *gate) pass(n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left < 0 {
		return false
	}
	if g.left -= n; g.left < 0 {
		close(g.reached)
		return false
	}
	return true
}

func (g *gate) close() {
	g.listener.Close()
	g.mu.Lock()
	for _, c := range g.conns {
		c.Close()
	}
	g.mu.Unlock()
	g.pumps.Wait()
}
