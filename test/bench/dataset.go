package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed dataset.sql
var datasetText string

const (
	database = "perf"
	restored = "perf_restored"

	// referenceGB is the size that the numbers of rows below make.
	referenceGB = 2.0
)

// rows are the numbers of rows of the dataset's tables.
type rows struct{ Tickets, Changes, Values, Attachments int }

// changeLog is the table with the most rows, and column one of its columns that
// is part of a key.
const (
	changeLog = "priv_changeop"
	column    = "objkey"
)

func rowsFor(gb float64) rows {
	scaled := func(n int) int { return max(1, int(float64(n)*gb/referenceGB)) }
	return rows{Tickets: scaled(600_000), Changes: scaled(6_000_000), Values: scaled(3_000_000), Attachments: scaled(5_000)}
}

// datasetStatements returns the statements that make the dataset.
func datasetStatements(r rows) ([]string, error) {
	parsed, err := template.New("dataset.sql").Parse(datasetText)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, r); err != nil {
		return nil, err
	}
	var statements []string
	for statement := range strings.SplitSeq(text.String(), ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements, nil
}

// makeDataset makes the dataset of that size, in place of any other.
func (l *lab) makeDataset(ctx context.Context, gb float64) error {
	if l.datasetGB == gb {
		return nil
	}
	l.say("making a database of %g GB", gb)
	if err := l.drop(ctx, restored); err != nil {
		return err
	}
	l.datasetGB = 0
	if err := l.create(ctx, database); err != nil {
		return err
	}
	statements, err := datasetStatements(rowsFor(gb))
	if err != nil {
		return err
	}
	if err := l.exec(ctx, "use "+database); err != nil {
		return err
	}
	for _, statement := range statements {
		if err := l.exec(ctx, statement); err != nil {
			return fmt.Errorf("make the database: %w", err)
		}
	}
	l.datasetGB = gb
	return l.settle(ctx)
}

// size returns the bytes of rows and of keys that the server counts for the dataset.
func (l *lab) size(ctx context.Context) (data, keys float64, err error) {
	values, err := l.row(ctx, "select sum(data_length), sum(index_length) from information_schema.tables where table_schema = '"+database+"'")
	if err != nil {
		return 0, 0, err
	}
	if data, err = number(values[0]); err != nil {
		return 0, 0, err
	}
	keys, err = number(values[1])
	return data, keys, err
}
