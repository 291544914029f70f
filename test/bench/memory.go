package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Goals, as in docs/performance.md: peak memory in bytes.
const (
	goalMemory      = 300 << 20
	goalFilesMemory = 1 << 30
)

// memory measures how backup and restore grow with what they back up.
func (b *bench) memory(ctx context.Context) error {
	var rows [][]string
	for _, gb := range b.sizes {
		if err := b.lab.makeDataset(ctx, gb); err != nil {
			return err
		}
		data, _, err := b.lab.size(ctx)
		if err != nil {
			return err
		}
		var contenders []contender
		for _, with := range b.builds {
			p := b.at(with, placeName(with))
			contenders = append(contenders, b.firstBackup(with, with.name+", backup"), contender{
				name:    with.name + ", restore",
				prepare: func(ctx context.Context) error { return b.lab.drop(ctx, restored) },
				command: p.command("restore", databaseApp, "latest", "--to-database", restored, "--yes"),
			})
		}
		all, err := b.alternate(ctx, 1, contenders)
		if err != nil {
			return err
		}
		for _, s := range all {
			rows = append(rows, sizeRow(s, fmt.Sprintf("%.2f GB", data/1e9), data/1e9, goalMemory, b.gb < tellingGB))
		}
		if err := errors.Join(b.lab.drop(ctx, restored), b.clearAll(b.placeNames())); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "\n### Growth with the size of the database\n\nWhat is larger than the server's buffer pool of 2 GiB it reads from disk.\n\n")
	head := []string{"", "size", "wall s", "s per GB", "CPU s", "peak memory", "goal", ""}
	b.printTable(head, rows)
	if !b.million {
		return nil
	}
	return b.millionFiles(ctx)
}

func sizeRow(s *series, size string, units float64, goal float64, small bool) []string {
	run := s.samples[0]
	return []string{
		s.name, size, seconds(run.wall), factor(run.wall / units), seconds(run.cpu), mebibytes(run.memory),
		"≤ " + mebibytes(goal), verdict(run.memory, goal, small),
	}
}

func mebibytes(v float64) string { return fmt.Sprintf("%.0f MiB", v/(1<<20)) }

func (b *bench) millionFiles(ctx context.Context) error {
	// The database would only be in the way.
	if err := b.lab.drop(ctx, database); err != nil {
		return err
	}
	b.lab.datasetGB = 0
	tree, err := b.tree(ctx, millionOfFiles)
	if err != nil {
		return err
	}
	target := filepath.Join(b.lab.dir, "restored")
	var rows [][]string
	for _, with := range b.builds {
		p := b.at(with, placeName(with))
		all, err := b.alternate(ctx, 1, []contender{
			{name: with.name + ", first", command: p.command("backup", filesApp), output: p.repository, prepare: func(ctx context.Context) error {
				_, err := b.place(ctx, with, placeName(with), tree)
				return err
			}},
			{name: with.name + ", nothing changed", command: p.command("backup", filesApp), output: p.repository},
			{
				name: with.name + ", restore", prepare: b.clearing("restored"),
				command: p.command("restore", filesApp, "latest", "--to-dir", target, "--yes"),
			},
		})
		if err != nil {
			return err
		}
		for _, s := range all {
			rows = append(rows, sizeRow(s, "1,000,000 files", millionOfFiles/100_000, goalFilesMemory, false))
		}
		if err := b.clearAll([]string{placeName(with), "restored"}); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "\n### A million files\n\n")
	b.printTable([]string{"", "size", "wall s", "s per 100,000", "CPU s", "peak memory", "goal", ""}, rows)
	return b.clearAll([]string{"tree"})
}
