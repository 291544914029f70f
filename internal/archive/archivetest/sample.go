package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// fixedTime is when all the sample was made.
var fixedTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

type fixedClock struct{}

func (fixedClock) Now() time.Time { return fixedTime }

// modeOf turns the number that chmod takes into a mode.
func modeOf(n uint32) fs.FileMode {
	m := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			m |= flag
		}
	}
	return m
}

// noise is n bytes that do not compress, the same at each call.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b) // it never fails
	return b
}

// sampleNodes are the awkward names and kinds of file that a backup can hold.
func sampleNodes() []node {
	file := func(path, body string) node {
		return node{path: path, typ: core.TypeFile, body: []byte(body), mode: 0o644, uid: 33, gid: 33, time: fixedTime}
	}
	dir := func(path string) node {
		return node{path: path, typ: core.TypeDir, mode: 0o2775, uid: 33, gid: 33, time: fixedTime}
	}
	link := func(path, target string) node {
		return node{path: path, typ: core.TypeSymlink, link: target, mode: 0o777, uid: 33, gid: 33, time: fixedTime}
	}
	config := func(path, body string) node {
		n := file(path, body)
		n.mode = 0o440
		return n
	}
	deep := strings.Repeat(strings.Repeat("d", 98)+"/", 9)
	nodes := []node{
		config("config/app/conf/production/config-itop.php", "<?php\n$MySettings = array('db_name' => 'x');\n"),
		config("config/app/conf/test/config-itop.php", "<?php // of another environment\n"),
		config("config/app/config.php", "<?php $database = 'x';\n"),
		config("config/system/etc/demo/app.ini", "a=b\n"),
		file("code/app/index.php", "<?php // code\n"),
		file("code/app/lib/a.php", "<?php // more code\n"),
		file("files/system/srv/share/other.txt", "elsewhere\n"),
		file("files/app/extensions/my-ext/module.my-ext.php", "<?php // extension\n"),
		file("files/app/data/production.delta.xml", "<itop_design/>\n"),
		file("files/app/data/test.delta.xml", "<itop_design>test</itop_design>\n"),
		dir("files/app/data/production-modules"),
		file("files/app/data/production-modules/sample/main.php", "<?php\n"),
		file("files/app/data/production-modules/sample/delta.xml", "<special name='in modules'/>\n"),
	}
	for _, top := range []string{"files/app/data", "files/app/uploads"} {
		nodes = append(nodes,
			dir(top), dir(top+"/empty"), file(top+"/zero", ""), file(top+"/one", "1"),
			file(top+"/block", strings.Repeat("b", 512)), file(top+"/block and one", strings.Repeat("b", 513)),
			file(top+"/Ünïcode 漢字 😀.txt", "unicode "+top), file(top+"/e\u0301 decomposed", "combining "+top),
			file(top+"/"+strings.Repeat("n", 251)+".bin", "255 bytes "+top),
			file(top+"/"+strings.Repeat("漢", 85), "255 bytes of UTF-8 "+top),
			file(top+"/"+deep+"leaf.txt", "deep "+top),
			file(top+"/"+strings.Repeat("x", 99-len(top)+len("files/app")), "99 bytes"), file(top+"/"+strings.Repeat("y", 100-len(top)+len("files/app")), "100 bytes"),
			file(top+"/sub/config-itop.php", "deeper config "+top), file(top+"/sub/itop-dump.sql", "deeper dump "+top),
			file(top+"/sub/delta.xml", "deeper delta "+top), file(top+"/sub/production-modules", "a file "+top),
			file(top+"/sub/db.sql", "deeper db "+top), file(top+"/sub/version.txt", "deeper version "+top),
			file(top+"/sub/uploads.zip", "deeper zip "+top), file(top+"/sub/manifest.json", "{}"),
			file(top+"/-rf", "dash"), file(top+"/ a\nb ", "newline"), file(top+"/100%41'\"$(x).txt", "quotes"),
			file(top+"/UPPER.txt", "upper"), file(top+"/upper.txt", "lower"), file(top+"/.htaccess", "Deny from all\n"),
			file(top+`/back\slash`, "backslash"),
			file(top+"/invalid-\xff\xfe.txt", "invalid UTF-8 "+top), file(top+"/\xe9\xe8/inner \xe7", "latin-1 "+top),
			link(top+"/link", "one"), link(top+"/dangling", "../../../nowhere"), link(top+"/folder link", "sub"),
		)
		run := file(top+"/run.sh", "#!/bin/sh\n")
		run.mode = 0o755
		hard := file(top+"/hard", "1")
		hard.hard = strings.TrimPrefix(top, "files/") + "/one"
		attributed := file(top+"/attributed", "with an attribute")
		attributed.xattrs = map[string][]byte{"user.comment": {0, 1, 0xff}}
		odd := file(top+"/odd", "setuid, another owner, nanoseconds, long ago")
		odd.mode, odd.uid, odd.gid, odd.time = 0o4750, 70000, 3_000_000_000, time.Date(1969, 12, 31, 23, 0, 0, 5, time.UTC)
		nodes = append(nodes, run, hard, attributed, odd)
	}
	return nodes
}

// Sample returns the content that the suite writes: a backup of the given
// profile with awkward names and kinds of file, and a small dump. Each call
// makes a new one.
func Sample(t testing.TB, profile string) archive.Content {
	t.Helper()
	return content(t, profile, newTree(), sampleNodes(), 300)
}

// largeSample has a file of several MB too, that does not compress, and a dump
// of as many.
func largeSample(t testing.TB, profile string) archive.Content {
	t.Helper()
	nodes := sampleNodes()
	for _, top := range []string{"files/app/data", "files/app/uploads"} {
		nodes = append(nodes, node{path: top + "/big.bin", typ: core.TypeFile, body: noise(5<<20 + 17), mode: 0o640, time: fixedTime})
	}
	return content(t, profile, newTree(), nodes, 60_000)
}

// content makes a backup of nodes and a dump of so many rows.
func content(t testing.TB, profile string, s *tree, nodes []node, rows int) archive.Content {
	t.Helper()
	if profile == "" {
		profile = "generic"
	}
	index, err := json.Marshal(core.DatabaseIndex{Tables: []core.Table{}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(index)
	epoch := time.Unix(0, 0).UTC()
	nodes = append(nodes, node{path: "database/index.json", typ: core.TypeFile, body: index, mode: 0o600, time: epoch})
	m := core.Manifest{
		Schema: core.ManifestSchema, ID: "sample-20260304T050607Z", App: "sample", Profile: profile, Host: "host.example",
		Root: "/var/www/sample", Time: fixedTime, Started: fixedTime, Finished: fixedTime.Add(time.Minute), Trigger: "manual",
		BackstayVersion: "0.0.0", Versions: map[string]string{"application": "3.2.1", "schema": "3.2.1"},
		Settings: map[string]string{"environment": "production"}, Components: core.Components(),
		Consistency: core.Consistency{Mode: "online", Method: "single-transaction", Connections: 1},
		Owners:      core.Owners{Users: map[string]string{"0": "root", "33": "www-data"}, Groups: map[string]string{"0": "root", "33": "www-data"}},
		Database: &core.Database{
			Name: "sample", Charset: "utf8mb4", Collation: "utf8mb4_unicode_ci", Index: "database/index.json", Checksum: hex.EncodeToString(sum[:]),
			Server: core.DatabaseServer{Vendor: "mariadb", Version: "10.11.6-MariaDB", SQLMode: "STRICT_TRANS_TABLES", TimeZone: "+00:00", MaxAllowedPacket: 16 << 20},
		},
	}
	for _, c := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles} {
		tree := core.Tree{Component: c, Place: "app", Root: m.Root, Include: []string{"."}}
		if c == core.ComponentFiles {
			tree.Extra = "files.extra.jsonl"
		}
		m.Trees = append(m.Trees, tree)
		if c != core.ComponentCode {
			m.Trees = append(m.Trees, core.Tree{Component: c, Place: "system", Root: "/", Include: []string{"etc", "srv"}, Extra: tree.Extra})
		}
	}
	manifest, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	root := s.plant(t, nodes, core.Entry{Name: "manifest.json", Type: core.TypeFile, Mode: 0o600, ModTime: fixedTime, Object: s.file(manifest)})
	return archive.Content{
		Manifest: m, Tree: s, Root: root,
		DumpSize: func(ctx context.Context, d archive.Dialect) (int64, error) {
			var n counter
			err := writeDump(ctx, &n, d, rows)
			return int64(n), err
		},
		Dump: func(ctx context.Context, w io.Writer, d archive.Dialect) ([]core.Warning, error) {
			return nil, writeDump(ctx, w, d, rows)
		},
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// writeDump writes a dump with so many rows, of which each takes some 100
// bytes.
func writeDump(ctx context.Context, w io.Writer, d archive.Dialect, rows int) error {
	var b bytes.Buffer
	flush := func(force bool) error {
		if b.Len() < 64<<10 && !force {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := w.Write(b.Bytes())
		b.Reset()
		return err
	}
	fmt.Fprintf(&b, "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for Linux (x86_64)\n--\n-- Host: localhost    Database: sample\n"+
		"-- ------------------------------------------------------\n-- Server version\t10.11.6-MariaDB\n-- dialect %s\n"+
		"/*!40101 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (`id` int NOT NULL, `text` text, PRIMARY KEY (`id`));\n", d)
	for n := range rows {
		sum := sha256.Sum256(fmt.Append(nil, n))
		fmt.Fprintf(&b, "INSERT INTO `t` VALUES (%d,'ünï %x 漢');\n", n, sum)
		if err := flush(false); err != nil {
			return err
		}
	}
	b.WriteString("-- Dump completed on 2026-03-04  5:06:07\n")
	return flush(true)
}
