package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that did not build
	Test       string
	Output     string
}

// result is what the tests did on one server.
type result struct {
	packages map[string]string // import path → outcome
	tests    map[testID]*test
	build    map[string][]string // import path → what the compiler said
}

type testID struct{ pkg, name string }

type test struct {
	outcome string // "pass", "fail" or "skip"; "" when it did not end
	output  []string
}

func readResult(in io.Reader) (*result, error) {
	r := &result{packages: map[string]string{}, tests: map[testID]*test{}, build: map[string][]string{}}
	decoder := json.NewDecoder(in)
	for {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what go test printed: %w", err)
		}
		r.add(e)
	}
}

func (r *result) add(e event) {
	if e.Action == "build-output" {
		r.build[e.ImportPath] = append(r.build[e.ImportPath], e.Output)
		return
	}
	ended := e.Action == "pass" || e.Action == "fail" || e.Action == "skip"
	if e.Package == "" {
		return
	}
	if e.Test == "" {
		if ended {
			r.packages[e.Package] = e.Action
		}
		if e.Action != "output" {
			return
		}
	}
	id := testID{e.Package, e.Test}
	t := r.tests[id]
	if t == nil {
		t = &test{}
		r.tests[id] = t
	}
	if ended {
		t.outcome = e.Action
	}
	if e.Action == "output" {
		t.output = append(t.output, e.Output)
	}
}

func (r *result) failed() bool {
	return slices.Contains(slices.Collect(maps.Values(r.packages)), "fail")
}

// failures returns what failing tests and packages printed.
func (r *result) failures() []string {
	var lines []string
	for _, pkg := range slices.Sorted(maps.Keys(r.build)) {
		if r.packages[pkg] == "fail" || r.packages[strings.Fields(pkg)[0]] == "fail" {
			lines = append(lines, strings.TrimRight(strings.Join(r.build[pkg], ""), "\n"))
		}
	}
	for _, id := range r.sorted() {
		t := r.tests[id]
		// A test that did not end when its package failed was cut short.
		if t.outcome == "fail" || t.outcome == "" && r.packages[id.pkg] == "fail" {
			if said := strings.TrimRight(strings.Join(t.output, ""), "\n"); said != "" {
				lines = append(lines, said)
			}
		}
	}
	return lines
}

func (r *result) sorted() []testID {
	return slices.SortedFunc(maps.Keys(r.tests), func(a, b testID) int {
		return strings.Compare(a.pkg+"\x00"+a.name, b.pkg+"\x00"+b.name)
	})
}

// counts of the tests of a package: those without tests of their own inside.
type counts struct{ passed, failed, skipped int }

func (r *result) count(pkg string) counts {
	parents := map[testID]bool{}
	for id := range r.tests {
		if at := strings.LastIndex(id.name, "/"); at >= 0 {
			parents[testID{id.pkg, id.name[:at]}] = true
		}
	}
	var n counts
	for id, t := range r.tests {
		if id.pkg != pkg || id.name == "" || parents[id] && t.outcome != "fail" {
			continue
		}
		switch t.outcome {
		case "pass":
			n.passed++
		case "skip":
			n.skipped++
		default:
			n.failed++
		}
	}
	return n
}

func (n counts) String() string {
	text := fmt.Sprint(n.passed)
	if n.skipped > 0 {
		text += fmt.Sprintf(", %d n/a", n.skipped)
	}
	if n.failed > 0 {
		text += fmt.Sprintf(", %d FAILED", n.failed)
	}
	return text
}

// reason returns why a test was skipped: what it said, without the place.
func (t *test) reason() string {
	for _, line := range t.output {
		if _, said, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			if _, said, ok = strings.Cut(said, ": "); ok {
				return said
			}
		}
	}
	return "no reason given"
}
