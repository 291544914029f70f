package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFailureIsNotAFastTime(t *testing.T) {
	for name, c := range map[string]command{
		"one process":         shell(`echo the reason >&2; exit 3`),
		"begin of a pipeline": shell(`{ echo the reason >&2; false; } | cat`),
		"end of a pipeline":   shell(`echo x | { echo the reason >&2; false; }`),
		"a line before":       shell("echo the reason >&2; false\ntrue"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := measure(t.Context(), c, 0)
			if err == nil || !strings.Contains(err.Error(), "the reason") {
				t.Errorf("measure says %v", err)
			}
		})
	}
}

func TestMeasureCountsChildren(t *testing.T) {
	// A child of the shell takes 0.3 s of CPU, and awk holds 40 MB.
	s, err := measure(t.Context(), shell(`
		awk 'BEGIN { for (i = 0; i < 40; i++) a[i] = sprintf("%1000000s", i); print length(a) }' | {
			pid=$BASHPID
			until [ "$(awk '{ print $14 + $15 }' /proc/$pid/stat)" -ge 30 ]; do
				for ((i = 0; i < 20000; i++)); do :; done
			done
			cat
		} >"$1"`, filepath.Join(t.TempDir(), "out")), os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if s.cpu < 0.3 || s.wall <= 0 {
		t.Errorf("%.2f s of CPU in %.2f s, want at least 0.3", s.cpu, s.wall)
	}
	if s.memory < 40e6 || s.memory > 400e6 {
		t.Errorf("peak memory %s MB, want some 40 MB", megabytes(s.memory))
	}
}

// A small process's peak must not be ours.
func TestMemoryOfSmallProcess(t *testing.T) {
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	// It waits to be looked at: an input that ends.
	s, err := measure(t.Context(), shell(`for i in 1 2 3; do read -r -t 0.1 line < <(sleep 1) || true; done`), 0)
	if err != nil {
		t.Fatal(err)
	}
	if ballast[len(ballast)-1] != 1 || s.memory == 0 || s.memory > 32e6 {
		t.Errorf("peak memory of a shell: %s MB", megabytes(s.memory))
	}
}

func TestInterruptEndsThePipeline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := measure(ctx, shell(`sleep 60 | cat`), 0); err == nil {
		t.Error("no error")
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v: sleep was waited for", took)
	}
}

func TestTables(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	ours := &series{"ours", true, []sample{{wall: 6, cpu: 7, memory: 150e6, stored: 9.1e3}, {wall: 5}, {wall: 8}}}
	theirs := &series{"a | b", true, []sample{{wall: 10}, {wall: 10}, {wall: 10}}}
	slow := &series{"slow", true, []sample{{wall: 1}, {wall: 2}, {wall: 3}}}
	b.printRatios(compare([]*series{ours, theirs, slow}, 1, map[int]float64{1: 0.67, 2: 1}), false)
	b.printRatios(compare([]*series{ours, slow}, 1, map[int]float64{1: 1}), true)
	const want = `
| ratio | median of the rounds | goal |  |
|---|---:|---:|---:|
| ours ÷ a \| b | 0.60 (0.50–0.80) | ≤ 0.67 | met |
| ours ÷ slow | 2.67 (2.50–6.00) | ≤ 1.00 | missed |

| ratio | median of the rounds | goal |  |
|---|---:|---:|---:|
| ours ÷ slow | 2.67 (2.50–6.00) | ≤ 1.00 | too small to tell |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCompareBuilds(t *testing.T) {
	all := []*series{{name: "new"}, {name: "old"}, {name: "other"}}
	var names []string
	for _, r := range compare(all, 2, map[int]float64{2: 0.5}) {
		names = append(names, r.of.name+"/"+r.to.name)
	}
	if diff := cmp.Diff([]string{"new/other", "old/new", "old/other"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestExportRatios(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	ours := &series{"ours", true, []sample{{wall: 4, stored: 99}}}
	dump := &series{"dump", true, []sample{{wall: 10, stored: 100}}}
	b.printRatios(exportRatios([]*series{ours}, dump, goalExport), false)
	const want = `
| ratio | median of the rounds | goal |  |
|---|---:|---:|---:|
| ours ÷ dump | 0.40 | ≤ 0.50 | met |
| ours ÷ dump, size | 0.99 |  |  |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{2: {3, 1, 2}, 2.5: {4, 1, 2, 3}, 7: {7}} {
		if got := median(values); got != want {
			t.Errorf("median of %v is %v, want %v", values, got, want)
		}
	}
}

func TestDatasetScales(t *testing.T) {
	statements, err := datasetStatements(rowsFor(1))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(statements, "\n")
	for _, want := range []string{"seq_1_to_300000", "seq%300000", "seq_1_to_3000000", "seq_1_to_1500000", "seq_1_to_2500", "seq_0_to_9999"} {
		if !strings.Contains(text, want) {
			t.Errorf("a dataset of half the size does not have %s", want)
		}
	}
	if strings.Contains(text, "{{") || len(statements) != 12 {
		t.Errorf("%d statements:\n%s", len(statements), text)
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range [][]string{
		{"-only", "backup,speed"}, {"-sizes", "1,big"}, {"-gb", "0"}, {"-rounds", "0"}, {"stray"},
		{"-backstay", "/nowhere/backstay"}, {"-backstay", "a=/bin/sh", "-backstay", "a=/bin/ls"},
	} {
		if _, err := parseOptions(bad, io.Discard); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	o, err := parseOptions([]string{"-backstay", "old=/bin/ls", "-backstay", "/bin/sh", "-only", "files,backup"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"old", "sh"}, []string{o.builds[0].name, o.builds[1].name}); diff != "" {
		t.Error(diff)
	}
}

func TestSizesFollowASmallDatabase(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []float64
	}{
		{nil, []float64{0.5, 2, 8}},
		{[]string{"-gb", "0.5"}, []float64{0.5, 2, 8}},
		{[]string{"-gb", "0.01"}, []float64{0.01}},
		{[]string{"-gb", "0.01", "-sizes", "1,2"}, []float64{1, 2}},
	} {
		o, err := parseOptions(append(c.args, "-backstay", "/bin/sh"), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, o.sizes); diff != "" {
			t.Errorf("%v: %s", c.args, diff)
		}
	}
}

func TestFullDiskIsForeseen(t *testing.T) {
	o := options{dir: t.TempDir(), groups: []string{"memory"}, sizes: []float64{1e9}}
	if err := checkSpace(o); err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("an exabyte fits: %v", err)
	}
}

func TestMydumperCompression(t *testing.T) {
	for version, want := range map[string]string{"1.0.1": "zstd", "0.10.0": "gzip", "0.9.1": "gzip", "0.16.7": "zstd", "": "gzip"} {
		if got := (tool{version: version}).compression(); got != want {
			t.Errorf("mydumper %s compresses with %s, want %s", version, got, want)
		}
	}
}

func TestDifferentTreeIsFound(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, root := range []string{one, two} {
		if err := os.WriteFile(filepath.Join(root, "f"), []byte(root[len(root)-1:]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(root, "f"), time.Unix(1, 1), time.Unix(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := describe(one)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkTree(want, one)(t.Context(), true); err != nil {
		t.Error(err)
	}
	if err := checkTree(want, two)(t.Context(), true); err == nil {
		t.Error("other content is taken for the same")
	}
	if err := os.WriteFile(filepath.Join(one, "more"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkTree(want, one)(t.Context(), true); err == nil {
		t.Error("a file more is not seen")
	}
}

// The part that is run as a process refuses what it cannot do.
func TestParts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := start(t.Context(), []string{treePart, dir, "10"}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	all, err := describe(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 12 {
		t.Errorf("10 files in two folders are %d paths", len(all))
	}
	if err := start(t.Context(), []string{treePart, dir}, io.Discard, io.Discard); err == nil {
		t.Error("a tree of no size")
	}
	if err := start(t.Context(), []string{readLimitPart, "-socket", filepath.Join(dir, "none")}, io.Discard, io.Discard); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("reading from no server: %v", err)
	}
}
