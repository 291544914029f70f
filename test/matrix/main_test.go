package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	allWell = `{"Action":"start","Package":"m/internal/mysql/corpus"}
{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip/some_bits"}
{"Action":"output","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip/sequences","Output":"    roundtrip_test.go:12: it has no sequences\n"}
{"Action":"skip","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip/sequences"}
{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTripByInsert/some_bits"}
{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip"}
{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTripByInsert"}
{"Action":"pass","Package":"m/internal/mysql/corpus"}
{"Action":"skip","Package":"m/internal/none"}
`
	notWell = `{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip/some_bits"}
{"Action":"output","Package":"m/internal/mysql/corpus","Test":"TestRoundTripByInsert/some_bits","Output":"a bit is lost\n"}
{"Action":"fail","Package":"m/internal/mysql/corpus","Test":"TestRoundTripByInsert/some_bits"}
{"Action":"pass","Package":"m/internal/mysql/corpus","Test":"TestRoundTrip/sequences"}
{"Action":"fail","Package":"m/internal/mysql/corpus","Test":"TestRoundTripByInsert"}
{"Action":"fail","Package":"m/internal/mysql/corpus"}
{"Action":"build-output","ImportPath":"m/internal/broken [m/internal/broken.test]","Output":"undefined: x\n"}
{"Action":"fail","Package":"m/internal/broken"}
`
)

func TestTableTellsWhatPassedWhereAndWhyNot(t *testing.T) {
	var results []*result
	for _, text := range []string{allWell, notWell} {
		r, err := readResult(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if results[0].failed() || !results[1].failed() {
		t.Errorf("failed: %v and %v, want false and true", results[0].failed(), results[1].failed())
	}
	if diff := cmp.Diff([]string{"undefined: x", "a bit is lost"}, results[1].failures()); diff != "" {
		t.Error(diff)
	}
	var out strings.Builder
	if err := printTable(&out, []server{{version: "MySQL 9"}, {version: "MariaDB 11"}}, results); err != nil {
		t.Fatal(err)
	}
	want := `tests passed            MySQL 9    MariaDB 11
internal/broken         0          FAILED
internal/mysql/corpus   2, 1 n/a   2, 2 FAILED

case of the corpus      MySQL 9    MariaDB 11
sequences               n/a [1]    exact
some bits               exact      FAILED

[1] MySQL 9: it has no sequences
`
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.TrimRight(line, " \n")+"\n")
	}
	if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
		t.Error(diff)
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"/usr/sbin/mariadbd  Ver 10.11.11-MariaDB-0+deb12u1 for debian-linux-gnu": "MariaDB 10.11.11",
		"/x/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))":                   "MySQL 9.7.4",
	} {
		if got, err := versionOf(text); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := versionOf("bash, version 5"); err == nil {
		t.Error("a shell's version is taken for a server's")
	}
}
