package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// corpusPackage is where each subtest is a case of the corpus.
const corpusPackage = "/internal/mysql/corpus"

// printTable prints tests by package and cases of the corpus by name, a column
// a server, and below it the reasons of what does not apply.
func printTable(out io.Writer, servers []server, results []*result) error {
	var notes []string
	note := func(server, text string) string {
		text = server + ": " + text
		at := slices.Index(notes, text)
		if at < 0 {
			notes = append(notes, text)
			at = len(notes) - 1
		}
		return fmt.Sprintf("n/a [%d]", at+1)
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	head := make([]string, len(servers))
	for i, s := range servers {
		head[i] = s.version
	}
	line := func(name string, cells []string) { fmt.Fprintf(w, "%s\t%s\n", name, strings.Join(cells, "\t")) }

	line("tests passed", head)
	for _, pkg := range allPackages(results) {
		cells := make([]string, len(results))
		for i, r := range results {
			cells[i] = r.count(pkg).String()
			if outcome := r.packages[pkg]; outcome == "fail" && r.count(pkg).failed == 0 {
				cells[i] = "FAILED"
			}
		}
		line(shorten(pkg), cells)
	}
	line("", make([]string, len(servers)))
	line("case of the corpus", head)
	cases := make([]map[string]*test, len(results))
	names := map[string]bool{}
	for i, r := range results {
		cases[i] = r.cases()
		for name := range cases[i] {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		cells := make([]string, len(results))
		for i := range results {
			switch t := cases[i][name]; {
			case t == nil:
				cells[i] = "FAILED: not run"
			case t.outcome == "pass":
				cells[i] = "exact"
			case t.outcome == "skip":
				cells[i] = note(servers[i].version, t.reason())
			default:
				cells[i] = "FAILED"
			}
		}
		line(strings.ReplaceAll(name, "_", " "), cells)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(notes) > 0 {
		fmt.Fprintln(out)
	}
	for i, text := range notes {
		fmt.Fprintf(out, "[%d] %s\n", i+1, text)
	}
	return nil
}

func allPackages(results []*result) []string {
	seen := map[string]bool{}
	for _, r := range results {
		for pkg := range r.packages {
			// A package without tests is no row.
			if n := r.count(pkg); n != (counts{}) || r.packages[pkg] == "fail" {
				seen[pkg] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func shorten(pkg string) string {
	if at := strings.Index(pkg, "/internal/"); at >= 0 {
		return pkg[at+1:]
	}
	return pkg
}

// again is what go test adds to the name of a second subtest of one name.
var again = regexp.MustCompile(`#\d\d$`)

// cases returns the cases of the corpus by name. A case is tested in several
// ways; what went worst counts.
func (r *result) cases() map[string]*test {
	rank := map[string]int{"skip": 0, "pass": 1, "fail": 2, "": 2}
	worst := map[string]*test{}
	for _, id := range r.sorted() {
		way, name, ok := strings.Cut(id.name, "/")
		if !ok || !strings.HasPrefix(way, "TestRoundTrip") || !strings.HasSuffix(id.pkg, corpusPackage) {
			continue
		}
		name = again.ReplaceAllString(name, "")
		t := r.tests[id]
		if have := worst[name]; have == nil || rank[t.outcome] > rank[have.outcome] {
			worst[name] = t
		}
	}
	return worst
}
