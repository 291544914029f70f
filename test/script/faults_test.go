package script

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func scriptContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// describeTree writes down every file below root.
func describeTree(ts *testscript.TestScript, out *strings.Builder, root string) {
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(out, "%s %s %d:%d", rel, info.Mode(), owner.Uid, owner.Gid)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, " %s %x", info.ModTime().UTC().Format(time.RFC3339Nano), sha256.Sum256(data))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, " -> %s", target)
		}
		fmt.Fprintln(out)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		ts.Check(err)
	}
}

// fifo makes a named pipe, on which a hook can wait for the script.
func fifo(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "fifo FILE")
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o600))
}

// damage spoils the repository's blobs that hold the data of backups, or their
// folders: damage flip|delete data|folders [EXCEPT]. Blobs that the file EXCEPT
// lists are left alone; `damage list data FILE` writes that list.
func damage(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "damage flip|delete|list data|folders [FILE]")
	prefix := map[string]string{"data": "p", "folders": "q"}[args[1]]
	var except string
	if len(args) > 2 && args[0] != "list" {
		except = ts.ReadFile(args[2])
	}
	var listed []string
	spoiled := 0
	err := filepath.WalkDir(ts.Getenv("repo"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(ts.Getenv("repo"), p)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(rel, prefix) || strings.Contains(except, rel) {
			return nil
		}
		switch args[0] {
		case "list":
			listed = append(listed, rel)
			return nil
		case "delete":
			spoiled++
			return os.Remove(p)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for i := range data {
			data[i] ^= 0x5a
		}
		spoiled++
		return os.WriteFile(p, data, 0o600)
	})
	ts.Check(err)
	if args[0] == "list" {
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(listed, "\n")), 0o600))
	} else if spoiled == 0 {
		ts.Fatalf("there is nothing to damage")
	}
}

// cut is a way to a server that breaks for good after so many bytes.
type cut struct {
	listener net.Listener
	target   string
	left     atomic.Int64
	mu       sync.Mutex
	open     []net.Conn
	gone     bool
}

func startCut(target string, limit int64) (*cut, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cut{listener: l, target: target}
	c.left.Store(limit)
	go c.serve()
	return c, nil
}

func (c *cut) port() int { return c.listener.Addr().(*net.TCPAddr).Port }

func (c *cut) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			client.Close()
			continue
		}
		if !c.keep(client, server) {
			continue
		}
		go func() { io.Copy(server, client); server.Close() }()
		go func() {
			buffer := make([]byte, 4096)
			for {
				n, err := server.Read(buffer)
				if c.left.Add(-int64(n)) < 0 {
					c.close()
					return
				}
				if _, werr := client.Write(buffer[:n]); err != nil || werr != nil {
					client.Close()
					return
				}
			}
		}()
	}
}

func (c *cut) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		for _, conn := range conns {
			conn.Close()
		}
		return false
	}
	c.open = append(c.open, conns...)
	return true
}

// close ends the listener and every connection: nobody listens there any more.
func (c *cut) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.listener.Close()
	for _, conn := range c.open {
		conn.Close()
	}
	c.open = nil
}
