package large

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/archive/itop"
	"github.com/backstay/backstay/internal/core"
)

// What TestWrite is told as a process of its own.
const (
	stepVariable = "BACKSTAY_LARGE_WRITE" // "itop" or "itflow"
	fileVariable = "BACKSTAY_LARGE_FILE"
	byteVariable = "BACKSTAY_LARGE_BYTES"
)

const zipPassword = "YdJd-qas-7B_s5fIyjErhJEsS2M2RYZN"

// write writes an archive of content that there is nowhere, in a process of its own.
func (p *place) write(format, file string) {
	p.t.Helper()
	p.measured("write "+format, goalMemory, []string{
		stepVariable + "=" + format, fileVariable + "=" + file, byteVariable + "=" + strconv.FormatInt(p.size, 10),
	}, os.Args[0], "-test.run=^TestWrite$", "-test.timeout=0")
	p.sizeSaid(file)
}

// TestWrite is the process that write starts.
func TestWrite(t *testing.T) {
	format := os.Getenv(stepVariable)
	if format == "" {
		t.Skip("it is a part of the other tests")
	}
	debug.SetGCPercent(50) // as the program does
	size, err := strconv.ParseInt(os.Getenv(byteVariable), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(os.Getenv(fileVariable))
	if err != nil {
		t.Fatal(err)
	}
	content := archivetest.Sample(t, format)
	opt := archive.WriteOptions{Clock: core.SystemClock{}}
	var writer archive.Format = itop.New()
	d := dumpOf(size, itopHead, itopTail)
	if format == "itflow" {
		writer, opt.Password = itflow.New(), core.NewSecret(zipPassword)
		d = dumpOf(size, itflowHead, itflowTail)
		content.Tree = tree{content.Tree, size}
	}
	content.DumpSize = func(context.Context, archive.Dialect) (int64, error) { return d.bytes(), nil }
	content.Dump = func(ctx context.Context, w io.Writer, _ archive.Dialect) ([]core.Warning, error) {
		return nil, d.write(ctx, w)
	}
	_, err = writer.Write(t.Context(), f, content, opt)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// tree makes each file called zero a large one.
type tree struct {
	core.TreeReader
	size int64
}

const largeObject core.ObjectID = "large"

func (t tree) ReadDir(ctx context.Context, id core.ObjectID) ([]core.Entry, error) {
	entries, err := t.TreeReader.ReadDir(ctx, id)
	for i := range entries {
		if entries[i].Name == "zero" && entries[i].Type == core.TypeFile {
			entries[i].Object = core.Object{ID: largeObject, Size: t.size}
		}
	}
	return entries, err
}

func (t tree) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if id != largeObject {
		return t.TreeReader.Open(ctx, id)
	}
	return &zeros{left: t.size}, nil
}

// zeros is read once, from its begin.
type zeros struct {
	io.Seeker
	left int64
}

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.left))
	clear(b[:n])
	z.left -= int64(n)
	return n, nil
}

func (z *zeros) Close() error { return nil }

const (
	itopHead = "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for Linux (x86_64)\n--\n-- Host: localhost    Database: large\n" +
		"-- ------------------------------------------------------\n-- Server version\t10.11.6-MariaDB\n" +
		"/*!40101 SET NAMES utf8mb4 */;\n" + createTable
	itopTail   = "-- Dump completed on 2026-03-04  5:06:07\n"
	itflowHead = "-- ITFlow database backup\n-- Generated 2026-03-04 05:06:07\n\nSET NAMES 'utf8mb4';\nSET FOREIGN_KEY_CHECKS = 0;\nSET UNIQUE_CHECKS = 0;\n" + createTable
	itflowTail = "SET FOREIGN_KEY_CHECKS = 1;\nSET UNIQUE_CHECKS = 1;\n"

	createTable = "DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (`id` bigint NOT NULL, `text` text, PRIMARY KEY (`id`));\n"
)

// dump is SQL text of rows that are numbered, and the same but for that.
type dump struct {
	head, tail string
	line       []byte // an INSERT of rowsPerLine rows
	ids        []int  // where their numbers stand
	lines      int64
}

const (
	rowsPerLine = 500
	firstID     = 1_000_000_000_000 // all numbers are of one width
)

// dumpOf returns a dump of at least size bytes.
func dumpOf(size int64, head, tail string) *dump {
	d := &dump{head: head, tail: tail}
	text := strings.Repeat("the quick brown fox, ünï 漢; ", 70)
	var b bytes.Buffer
	b.WriteString("INSERT INTO `t` VALUES ")
	for i := range rowsPerLine {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		d.ids = append(d.ids, b.Len())
		fmt.Fprintf(&b, "%d,'%s')", int64(firstID), text)
	}
	b.WriteString(";\n")
	d.line = b.Bytes()
	d.lines = size/int64(len(d.line)) + 1
	return d
}

func (d *dump) bytes() int64 {
	return int64(len(d.head)) + d.lines*int64(len(d.line)) + int64(len(d.tail))
}

func (d *dump) write(ctx context.Context, w io.Writer) error {
	line := bytes.Clone(d.line)
	id := int64(firstID)
	b := bufio.NewWriterSize(w, 64<<10)
	if _, err := b.WriteString(d.head); err != nil {
		return err
	}
	for range d.lines {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, at := range d.ids {
			strconv.AppendInt(line[at:at], id, 10)
			id++
		}
		if _, err := b.Write(line); err != nil {
			return err
		}
	}
	if _, err := b.WriteString(d.tail); err != nil {
		return err
	}
	return b.Flush()
}
