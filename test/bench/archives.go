package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// goalExport is a ratio of wall times, as in docs/performance.md.
const goalExport = 0.50

// Names of files in the lab.
const (
	dumpGzip = "dump.sql.gz"
	dumpZstd = "dump.sql.zst"
)

// archives measures exports of a backup, beside dumps of the database that it
// is of, and imports of a dump.
func (b *bench) archives(ctx context.Context) error {
	if err := b.lab.makeDataset(ctx, b.gb); err != nil {
		return err
	}
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	if err := b.exports(ctx); err != nil {
		return err
	}
	return b.imports(ctx)
}

func (b *bench) exports(ctx context.Context) error {
	var names []string
	var contenders []contender
	var ratios []func(all []*series) []ratio
	// beside adds our exports as a kind of file, and what they compete with.
	beside := func(extension string, goal float64, other contender) {
		first := len(contenders)
		for _, with := range b.builds {
			name := with.name + extension
			file := filepath.Join(b.lab.dir, name)
			names = append(names, name)
			contenders = append(contenders, contender{
				name: with.name + ", export as " + extension, prepare: b.clearing(name), output: file,
				command: b.at(with, placeName(with)).command("export", databaseApp+"@latest", file),
			})
		}
		last := len(contenders)
		if other.command.args != nil {
			contenders = append(contenders, other)
			ratios = append(ratios, func(all []*series) []ratio { return exportRatios(all[first:last], all[last], goal) })
		}
	}
	with := func(packer tool, name, file string, command func(file string) command) contender {
		if !b.tools.dump.there() || !packer.there() {
			return contender{}
		}
		names = append(names, file)
		path := filepath.Join(b.lab.dir, file)
		return contender{name: name, prepare: b.clearing(file), command: command(path), output: path}
	}
	beside(".sql.gz", goalExport, with(b.tools.gzip, "mariadb-dump | gzip", dumpGzip, b.gzipDump))
	beside(".sql.zst", 0, with(b.tools.zstd, "mariadb-dump | zstd -3 -T0", dumpZstd, func(file string) command { return b.sqlDump(file, "-T0") }))
	beside(".tar.zst", 0, contender{})
	for _, with := range b.builds {
		p, err := b.place(ctx, with, placeName(with), "")
		if err != nil {
			return err
		}
		if _, err := measure(ctx, p.command("backup", databaseApp), 0); err != nil {
			return err
		}
	}
	all, err := b.alternate(ctx, b.rounds, contenders)
	if err != nil {
		return err
	}
	b.printSeries(fmt.Sprintf("Export of a database (rounds: %d)", b.rounds), all, append(databaseColumns(), storedColumn()))
	var told []ratio
	for _, of := range ratios {
		told = append(told, of(all)...)
	}
	b.printRatios(told, b.gb < tellingGB)
	return b.clearAll(append(b.placeNames(), names...))
}

// exportRatios compares exports with a dump of the same compression: wall times,
// which have the goal, and sizes.
func exportRatios(ours []*series, dump *series, goal float64) []ratio {
	var ratios []ratio
	for _, of := range ours {
		ratios = append(ratios,
			ratio{of: of, to: dump, metric: wall, goal: goal, format: factor},
			ratio{of: of, to: dump, metric: stored, what: "size", format: factor})
	}
	return ratios
}

// imports measures how a dump becomes a backup, beside how the client loads it.
// backstay's import loads it into a server of its own, whose time and memory
// are counted with it, and reads all rows back.
func (b *bench) imports(ctx context.Context) error {
	if !b.tools.dump.there() || !b.tools.gzip.there() {
		b.say("imports are left out: mariadb-dump and gzip have to be there")
		return nil
	}
	file, err := b.lab.clear(dumpGzip)
	if err != nil {
		return err
	}
	if _, err := measure(ctx, b.gzipDump(file), 0); err != nil {
		return err
	}
	want, err := b.lab.checksums(ctx, database)
	if err != nil {
		return err
	}
	compared := func(ctx context.Context, first bool) error {
		if !first {
			return b.lab.drop(ctx, restored)
		}
		return errors.Join(b.compareRestored(ctx, want), b.lab.drop(ctx, restored))
	}
	var contenders []contender
	for _, with := range b.builds {
		p := b.at(with, placeName(with))
		contenders = append(contenders,
			contender{name: with.name + ", import --dry-run", command: p.command("import", databaseApp, file, "--dry-run"), prepare: func(ctx context.Context) error {
				_, err := b.place(ctx, with, placeName(with), "")
				return err
			}},
			contender{
				name: with.name + ", import", command: p.command("import", databaseApp, file), output: p.repository,
				check: func(ctx context.Context, first bool) error {
					if !first {
						return nil
					}
					if _, err := measure(ctx, p.command("restore", databaseApp, "latest", "--to-database", restored, "--yes"), 0); err != nil {
						return err
					}
					return compared(ctx, first)
				},
			})
	}
	ours := len(contenders)
	if b.tools.client.there() {
		contenders = append(contenders, contender{
			name: "gzip -d | mariadb", check: compared, command: b.gzipLoad(file),
			prepare: func(ctx context.Context) error { return b.lab.create(ctx, restored) },
		})
	}
	all, err := b.alternate(ctx, b.rounds, contenders)
	if err != nil {
		return errors.Join(err, b.lab.drop(ctx, restored))
	}
	b.printSeries(fmt.Sprintf("Import of a dump (rounds: %d)", b.rounds), all, append(databaseColumns(), storedColumn()))
	var ratios []ratio
	for i := 1; i < ours && ours < len(all); i += 2 {
		ratios = append(ratios, ratio{of: all[i], to: all[ours], metric: wall, format: factor})
	}
	b.printRatios(ratios, b.gb < tellingGB)
	return b.clearAll(append(b.placeNames(), dumpGzip))
}

// gzipDump dumps the database as people do, with gzip's own level, 6.
func (b *bench) gzipDump(file string) command {
	return shell(`"$1" --no-defaults --socket="$2" --user="$3" --single-transaction "$4" | "$5" >"$6"`,
		b.tools.dump.path, b.lab.server.Socket, b.lab.server.User, database, b.tools.gzip.path, file)
}

func (b *bench) gzipLoad(file string) command {
	return shell(`"$1" -dc "$2" | "$3" --no-defaults --socket="$4" --user="$5" "$6"`,
		b.tools.gzip.path, file, b.tools.client.path, b.lab.server.Socket, b.lab.server.User, restored)
}
