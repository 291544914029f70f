package main

import (
	"fmt"
	"slices"
	"strings"
)

// metric is a quantity of a sample.
type metric func(sample) float64

func wall(s sample) float64      { return s.wall }
func cpu(s sample) float64       { return s.cpu }
func serverCPU(s sample) float64 { return s.serverCPU }
func peak(s sample) float64      { return s.memory }
func stored(s sample) float64    { return s.stored }

// values returns a metric of every sample.
func (s *series) values(m metric) []float64 {
	all := make([]float64, len(s.samples))
	for i := range s.samples {
		all[i] = m(s.samples[i])
	}
	return all
}

// median returns the middle of the values, or the mean of the two in the
// middle. There must be one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread formats median, minimum and maximum; only the median when that is all
// that can be seen of them.
func spread(values []float64, format func(float64) string) string {
	low, high := format(slices.Min(values)), format(slices.Max(values))
	if low == high {
		return low
	}
	return fmt.Sprintf("%s (%s–%s)", format(median(values)), low, high)
}

func seconds(v float64) string { return fmt.Sprintf("%.1f", v) }
func factor(v float64) string  { return fmt.Sprintf("%.2f", v) }
func percent(v float64) string { return fmt.Sprintf("%.3g %%", 100*v) }

func megabytes(v float64) string {
	if v < 10e6 {
		return fmt.Sprintf("%.2f", v/1e6)
	}
	return fmt.Sprintf("%.0f", v/1e6)
}

// ratio is one of two series to the other: the median of the rounds' ratios.
type ratio struct {
	of, to *series
	metric metric
	what   string  // what is compared, "" for the wall time
	goal   float64 // at most this; 0: none
	format func(float64) string
}

func (r ratio) values() []float64 {
	of, to := r.of.values(r.metric), r.to.values(r.metric)
	all := make([]float64, min(len(of), len(to)))
	for i := range all {
		all[i] = of[i] / to[i]
	}
	return all
}

// verdict judges a value that should be at most the goal; 0 is no goal. small
// says that too little was measured to judge.
func verdict(value, goal float64, small bool) string {
	switch {
	case goal == 0:
		return ""
	case small:
		return "too small to tell"
	case value <= goal:
		return "met"
	}
	return "missed"
}

// quantity is a column of a table of series.
type quantity struct {
	head   string
	metric metric
	format func(float64) string
}

// Columns of tables: of database and of files groups.
func databaseColumns() []quantity {
	return []quantity{{"wall s", wall, seconds}, {"CPU s", cpu, seconds}, {"server's CPU s", serverCPU, seconds}, {"peak MB", peak, megabytes}}
}

func filesColumns() []quantity {
	return []quantity{{"wall s", wall, seconds}, {"CPU s", cpu, seconds}, {"peak MB", peak, megabytes}, storedColumn()}
}

func storedColumn() quantity { return quantity{"stored MB", stored, megabytes} }

// printSeries prints what contenders took: median, minimum and maximum of the rounds.
func (b *bench) printSeries(title string, all []*series, columns []quantity) {
	fmt.Fprintf(b.out, "\n### %s\n\n", title)
	head := []string{""}
	for _, c := range columns {
		head = append(head, c.head)
	}
	var rows [][]string
	for _, s := range all {
		row := []string{s.name}
		for _, c := range columns {
			cell := spread(s.values(c.metric), c.format)
			if c.head == storedColumn().head && !s.stores {
				cell = ""
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	b.printTable(head, rows)
}

// printRatios prints ratios beside their goals, which are not judged on a small set.
func (b *bench) printRatios(ratios []ratio, small bool) {
	var rows [][]string
	for _, r := range ratios {
		name := r.of.name + " ÷ " + r.to.name
		if r.what != "" {
			name += ", " + r.what
		}
		goal := ""
		if r.goal > 0 {
			goal = "≤ " + r.format(r.goal)
		}
		rows = append(rows, []string{name, spread(r.values(), r.format), goal, verdict(median(r.values()), r.goal, small)})
	}
	fmt.Fprintln(b.out)
	b.printTable([]string{"ratio", "median of the rounds", "goal", ""}, rows)
}

// printTable prints a Markdown table whose columns but the first are aligned right.
func (b *bench) printTable(head []string, rows [][]string) {
	line := func(cells []string) {
		for i, cell := range cells {
			cells[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintln(b.out, "| "+strings.Join(cells, " | ")+" |")
	}
	line(head)
	fmt.Fprintln(b.out, "|---"+strings.Repeat("|---:", len(head)-1)+"|")
	for _, row := range rows {
		line(row)
	}
}
