package sqlfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

func TestConformance(t *testing.T) {
	for extension, accepted := range map[string][]string{
		".sql.gz":  {"prepended archive", "appended gzip"}, // members are one stream
		".sql.zst": {"prepended archive"},
	} {
		t.Run(extension, func(t *testing.T) {
			archivetest.Run(t, archivetest.Case{
				Format: New(extension), Dialect: archive.DialectMySQL, Warns: []string{archive.NeverCarried}, Accepts: accepted,
				Expect: func(archive.Entry) (archive.Entry, bool) { return archive.Entry{}, false },
			})
		})
	}
}

func TestPlain(t *testing.T) {
	content := archivetest.Sample(t, "")
	var b bytes.Buffer
	warnings, err := New(".sql").Write(t.Context(), &b, content, archive.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 3 || !strings.Contains(warnings[0].Message, "0 files") {
		t.Errorf("warnings: %v", warnings)
	}
	whole := b.String()
	for name, tt := range map[string]struct {
		text string
		open core.Code
		flaw string
	}{
		"whole":             {text: whole},
		"Windows line ends": {text: strings.ReplaceAll(whole, "\n", "\r\n")},
		"no comments":       {text: "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n"},
		"sandbox mode":      {text: "/*M!999999\\- enable the sandbox mode */ \n" + whole},
		"a warning first":   {text: "mysqldump: [Warning] Using a password on the command line interface can be insecure.\n" + whole},
		"phpMyAdmin":        {text: "-- phpMyAdmin SQL Dump\n-- version 5.2.1\nSET SQL_MODE = \"NO_AUTO_VALUE_ON_ZERO\";\n"},
		"lower case":        {text: "\ufeff# of mine\nset names utf8mb4;"},
		"empty":             {text: "", open: core.CodeDamage},
		"white space":       {text: "\n\n", open: core.CodeUnsupported},
		"php":               {text: "<?php\n/* CREATE TABLE */ echo 1;", open: core.CodeUnsupported},
		"prose":             {text: "Dear all,\nuse this; it is good.\n", open: core.CodeUnsupported},
		"xz":                {text: "\xfd7zXZ\x00\x00", open: core.CodeUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			f := onDisk(t, []byte(tt.text))
			if got := New("").Recognizes(f, "x"); got != (tt.open == "") {
				t.Errorf("recognized: %t", got)
			}
			a, err := New("").Open(t.Context(), f, archive.OpenOptions{})
			if core.CodeOf(err) != tt.open {
				t.Fatalf("open: %v", err)
			}
			if err != nil {
				if core.HintOf(err) == "" {
					t.Error("there is no hint")
				}
				return
			}
			flaws, err := a.Check(t.Context())
			if err != nil || (len(flaws) > 0) != (tt.flaw != "") || len(flaws) > 0 && !strings.Contains(flaws[0].Message, tt.flaw) {
				t.Errorf("check: %v, flaws %v", err, flaws)
			}
			d, err := a.OpenDump(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(d); err != nil || string(got) != tt.text {
				t.Errorf("%d bytes of %d, %v", len(got), len(tt.text), err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMembers: what gzip and zstd append to one another is one dump.
func TestMembers(t *testing.T) {
	parts := []string{"-- MySQL dump 10.13\nCREATE TABLE t (a int);\n", "INSERT INTO t VALUES (1);\n", "-- Dump completed on 2026-01-02\n"}
	var b bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New("").Open(t.Context(), onDisk(t, b.Bytes()), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	d, err := a.OpenDump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(d); err != nil || string(got) != strings.Join(parts, "") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOtherPackers reads what the packing programs write, and they ours.
func TestOtherPackers(t *testing.T) {
	var text bytes.Buffer
	content := archivetest.Sample(t, "")
	if _, err := content.Dump(t.Context(), &text, archive.DialectMySQL); err != nil {
		t.Fatal(err)
	}
	for tool, pack := range map[string][]string{"gzip": {"-9"}, "bzip2": nil, "zstd": {"-19", "--long=27"}} {
		t.Run(tool, func(t *testing.T) {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is not installed", tool)
			}
			c := exec.CommandContext(t.Context(), tool, append(pack, "-c")...)
			c.Stdin = &text
			c.Stdin = bytes.NewReader(text.Bytes())
			packed, err := c.Output()
			if err != nil {
				t.Fatal(err)
			}
			f := onDisk(t, packed)
			if !New("").Recognizes(f, "x") {
				t.Error("it is not recognized")
			}
			a, err := New("").Open(t.Context(), f, archive.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
				t.Error(err, flaws)
			}
			for n := 1; n < len(packed); n += 1 + len(packed)/20 {
				a, err := New("").Open(t.Context(), onDisk(t, packed[:len(packed)-n]), archive.OpenOptions{})
				if err != nil {
					continue
				}
				if flaws, err := a.Check(t.Context()); err == nil && len(flaws) == 0 {
					t.Errorf("%d bytes short, and whole", n)
				}
			}
			extension := map[string]string{"gzip": ".sql.gz", "zstd": ".sql.zst"}[tool]
			if extension == "" {
				return
			}
			var ours bytes.Buffer
			if _, err := New(extension).Write(t.Context(), &ours, content, archive.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			c = exec.CommandContext(t.Context(), tool, "-dc")
			c.Stdin = &ours
			if got, err := c.Output(); err != nil || !bytes.Equal(got, text.Bytes()) {
				t.Errorf("%s reads %d bytes of %d: %v", tool, len(got), text.Len(), err)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	content := archivetest.Sample(t, "")
	if _, err := New(".sql.gz").Write(t.Context(), io.Discard, content, archive.WriteOptions{Level: 10}); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("level 10: %v", err)
	}
	content.Dump = nil
	if _, err := New(".sql.gz").Write(t.Context(), io.Discard, content, archive.WriteOptions{}); core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("no database: %v", err)
	}
}

func FuzzSniff(f *testing.F) {
	for _, s := range []string{"", "-- x\nCREATE TABLE t;", "/* dump */", "#", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "\x28\xb5\x2f\xfd\x00", "BZh9", "\xef\xbb\xbfset a;", "/*!", "--", "/*", "SET"} {
		f.Add([]byte(s))
	}
	limits := archive.OpenOptions{Limits: archive.Limits{MaxBytes: 16 << 20}}
	f.Fuzz(func(t *testing.T, data []byte) {
		looksLikeSQL(data)
		archivetest.Try(t, New(".sql"), "x.sql", data, limits)
	})
}

func onDisk(t testing.TB, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "dump.sql"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it is only read
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSizeOfTheDefault: prose of few words is what our default packs worst
// beside gzip's: by a tenth. See gzipDefault.
func TestSizeOfTheDefault(t *testing.T) {
	if _, err := exec.LookPath("gzip"); err != nil {
		t.Skip("gzip is not installed")
	}
	words := strings.Fields("incident server réseau user ticket Demo please reboot printer network the a is down client contact invoice asset login failed update")
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for n := range 20_000 {
		fmt.Fprintf(&text, "INSERT INTO `ticket` VALUES (%d,'R-%06d','", n, n)
		for range 5 + random.IntN(40) {
			text.WriteString(words[random.IntN(len(words))] + " ")
		}
		fmt.Fprintf(&text, "','2026-%02d-%02d',%d,NULL);\n", 1+random.IntN(12), 1+random.IntN(28), random.IntN(5000))
	}
	c := exec.CommandContext(t.Context(), "gzip", "-6")
	c.Stdin = bytes.NewReader(text.Bytes())
	theirs, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var ours bytes.Buffer
	content := archive.Content{Dump: func(_ context.Context, w io.Writer, _ archive.Dialect) ([]core.Warning, error) {
		_, err := w.Write(text.Bytes())
		return nil, err
	}}
	if _, err := New(".sql.gz").Write(t.Context(), &ours, content, archive.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if ours.Len()*100 > len(theirs)*112 {
		t.Errorf("%d bytes, and gzip makes %d", ours.Len(), len(theirs))
	}
}
