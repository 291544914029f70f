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

// describeTree writes down every file below root, without what a restore keeps.
func describeTree(ts *testscript.TestScript, out *strings.Builder, root string) {
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".backstay-") && e.IsDir() {
			return filepath.SkipDir
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

// damage spoils the repository's blobs: those that hold data, or those that
// hold folders.
//
//	damage list data FILE      write the names of those there are now
//	damage byte data [FILE]    change one byte in the middle of the largest
//	damage flip data [FILE]    change all bytes of all
//	damage delete data [FILE]  delete all
//
// Blobs that FILE names are left alone.
func damage(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "damage list|byte|flip|delete data|folders [FILE]")
	prefix := map[string]string{"data": "p", "folders": "q"}[args[1]]
	var spared string
	if len(args) > 2 && args[0] != "list" {
		spared = ts.ReadFile(args[2])
	}
	var blobs []string
	var largest string
	var size int64
	repo := ts.Getenv("repo")
	ts.Check(filepath.WalkDir(repo, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(repo, p)
		if err != nil || !strings.HasPrefix(rel, prefix) || strings.Contains(spared, rel) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if blobs = append(blobs, rel); info.Size() > size {
			largest, size = rel, info.Size()
		}
		return nil
	}))
	if len(blobs) == 0 {
		ts.Fatalf("there is no such blob")
	}
	change := func(name string, all bool) {
		path := filepath.Join(repo, name)
		data, err := os.ReadFile(path)
		ts.Check(err)
		for i := range data {
			if all || i == len(data)/2 {
				data[i] ^= 0x5a
			}
		}
		ts.Check(os.WriteFile(path, data, 0o600))
	}
	switch args[0] {
	case "list":
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(blobs, "\n")), 0o600))
	case "byte":
		change(largest, false)
	case "flip":
		for _, b := range blobs {
			change(b, true)
		}
	case "delete":
		for _, b := range blobs {
			ts.Check(os.Remove(filepath.Join(repo, b)))
		}
	}
}

// tmpfs mounts a small file system on a folder, or changes the one that is
// there: tmpfs DIR size=4m, tmpfs DIR ro. It is gone at the script's end.
func tmpfs(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "tmpfs DIR OPTIONS")
	dir := ts.MkAbs(args[0])
	var at, above syscall.Stat_t
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(syscall.Stat(dir, &at))
	ts.Check(syscall.Stat(filepath.Dir(dir), &above))
	var flags uintptr
	mounted := at.Dev != above.Dev
	if mounted {
		flags |= syscall.MS_REMOUNT
	}
	data := args[1]
	if data == "ro" {
		flags, data = flags|syscall.MS_RDONLY, ""
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		ts.Fatalf("mount a tmpfs: %v", err)
	}
	if !mounted {
		ts.Defer(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				ts.Fatalf("unmount %s: %v", dir, err)
			}
		})
	}
}

// mountable says whether this process may mount file systems: containers often
// forbid it to root too.
func mountable() bool {
	dir, err := os.MkdirTemp("", "backstay-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") == nil && syscall.Unmount(dir, 0) == nil
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
