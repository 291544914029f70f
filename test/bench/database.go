package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Goals, as in docs/performance.md: ratios of wall times, and of stored bytes.
const (
	goalMydumper = 0.67
	goalDump     = 0.40
	goalAgain    = 0.05
	goalStored   = 0.03
	goalMyloader = 0.75
	goalClient   = 0.35
)

// warmUp reads the database once, so that the first contender finds it in the
// server's memory as the others do.
func (b *bench) warmUp(ctx context.Context) error {
	c, err := b.readLimit()
	if err != nil {
		return err
	}
	_, err = measure(ctx, c.command, 0)
	return err
}

// backup measures the first backup of a database.
func (b *bench) backup(ctx context.Context) error {
	if err := b.lab.makeDataset(ctx, b.gb); err != nil {
		return err
	}
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	var contenders []contender
	for _, with := range b.builds {
		contenders = append(contenders, b.firstBackup(with, with.name))
	}
	ours := len(contenders)
	goals := map[int]float64{}
	if b.tools.mydumper.there() {
		if b.tools.mydumper.zstd() {
			goals[len(contenders)] = goalMydumper
		}
		dir := filepath.Join(b.lab.dir, "mydumper")
		contenders = append(contenders, contender{
			name: b.mydumperName(), prepare: b.clearing("mydumper"), command: b.dumpWith(dir), output: dir,
		})
	}
	if b.tools.dump.there() && b.tools.zstd.there() {
		goals[len(contenders)] = goalDump
		file := filepath.Join(b.lab.dir, "dump.sql.zst")
		contenders = append(contenders, contender{
			name: "mariadb-dump | zstd -3", prepare: b.clearing("dump.sql.zst"), command: b.sqlDump(file), output: file,
		})
	}
	limit, err := b.readLimit()
	if err != nil {
		return err
	}
	all, err := b.alternate(ctx, b.rounds, append(contenders, limit))
	if err != nil {
		return err
	}
	b.printSeries(fmt.Sprintf("First backup of a database (rounds: %d)", b.rounds), all, append(databaseColumns(), storedColumn()))
	b.printRatios(compare(all, ours, goals), b.gb < tellingGB)
	return b.clearAll(append(b.placeNames(), "mydumper", "dump.sql.zst"))
}

// compare makes the ratios of wall times of each of the first ours series to
// all after them, and to the first. goals are by the number of the other series.
func compare(all []*series, ours int, goals map[int]float64) []ratio {
	var ratios []ratio
	for i, of := range all[:ours] {
		for j, to := range all {
			if j >= ours || j == 0 && i > 0 {
				ratios = append(ratios, ratio{of: of, to: to, metric: wall, goal: goals[j], format: factor})
			}
		}
	}
	return ratios
}

func (b *bench) clearing(name string) func(context.Context) error {
	return func(context.Context) error {
		_, err := b.lab.clear(name)
		return err
	}
}

func (b *bench) clearAll(names []string) error {
	var errs []error
	for _, name := range names {
		_, err := b.lab.clear(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// placeName is the folder in the lab in which a build works.
func placeName(with build) string { return "with-" + with.name }

func (b *bench) placeNames() []string {
	var names []string
	for _, with := range b.builds {
		names = append(names, placeName(with))
	}
	return names
}

// firstBackup backs the database up into an empty repository.
func (b *bench) firstBackup(with build, name string) contender {
	p := b.at(with, placeName(with))
	return contender{
		name: name, command: p.command("backup", databaseApp), output: p.repository,
		prepare: func(ctx context.Context) error {
			_, err := b.place(ctx, with, placeName(with), "")
			return err
		},
	}
}

// repeat measures backups after the first: with nothing changed, and with 1 %
// of the rows of one table changed, in one place and all over it.
func (b *bench) repeat(ctx context.Context) error {
	if err := b.lab.makeDataset(ctx, b.gb); err != nil {
		return err
	}
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	newest := fmt.Sprintf("where id > %d", rowsFor(b.gb).Changes/100*99)
	const scattered = "where crc32(id) % 100 = 0"
	var contenders []contender
	for _, with := range b.builds {
		again := b.at(with, placeName(with)).command("backup", databaseApp)
		output := b.at(with, placeName(with)).repository
		first := b.firstBackup(with, with.name+", first")
		first.prepare = inTurn(first.prepare, b.lab.settle)
		contenders = append(contenders, first,
			contender{name: with.name + ", nothing changed", command: again, output: output},
			contender{
				name: with.name + ", newest 1 % of one table changed", command: again, output: output,
				prepare: inTurn(b.changing("+ 1", newest), b.lab.settle),
			},
			contender{
				name: with.name + ", a scattered 1 % of it changed", command: again, output: output,
				prepare: inTurn(b.changing("- 1", newest), b.changing("+ 1", scattered), b.lab.settle),
				check:   func(ctx context.Context, _ bool) error { return b.changing("- 1", scattered)(ctx) },
			})
	}
	all, err := b.alternate(ctx, b.rounds, contenders)
	if err != nil {
		b.lab.datasetGB = 0 // its content may be half way between
		return err
	}
	b.printSeries(fmt.Sprintf("Repeated backup of a database (rounds: %d)", b.rounds), all, append(databaseColumns(), storedColumn()))
	var ratios []ratio
	for i := 0; i < len(all); i += 4 {
		ratios = append(ratios,
			ratio{of: all[i+1], to: all[i], metric: wall, goal: goalAgain, format: factor},
			ratio{of: all[i+1], to: all[i], metric: stored, what: "stored", format: percent},
			ratio{of: all[i+2], to: all[i], metric: wall, format: factor},
			ratio{of: all[i+2], to: all[i], metric: stored, what: "stored", goal: goalStored, format: percent},
			ratio{of: all[i+3], to: all[i], metric: wall, format: factor},
			ratio{of: all[i+3], to: all[i], metric: stored, what: "stored", goal: goalStored, format: percent})
	}
	b.printRatios(ratios, b.gb < tellingGB)
	return b.clearAll(b.placeNames())
}

func inTurn(steps ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// changing changes rows of the change log; the opposite change undoes it.
func (b *bench) changing(by, where string) func(context.Context) error {
	return func(ctx context.Context) error {
		return b.lab.exec(ctx, fmt.Sprintf("update %s.%s set %s = %s %s %s", database, changeLog, column, column, by, where))
	}
}

// restore measures restores into an empty database of the same server.
func (b *bench) restore(ctx context.Context) error {
	if err := b.lab.makeDataset(ctx, b.gb); err != nil {
		return err
	}
	b.say("making the backups to restore")
	want, err := b.lab.checksums(ctx, database)
	if err != nil {
		return err
	}
	empty := func(ctx context.Context) error { return b.lab.drop(ctx, restored) }
	created := func(ctx context.Context) error { return b.lab.create(ctx, restored) }
	check := func(ctx context.Context, first bool) error {
		if !first {
			return nil
		}
		return b.compareRestored(ctx, want)
	}
	var contenders []contender
	for _, with := range b.builds {
		p, err := b.place(ctx, with, placeName(with), "")
		if err != nil {
			return err
		}
		if _, err := measure(ctx, p.command("backup", databaseApp), 0); err != nil {
			return err
		}
		contenders = append(contenders, contender{
			name: with.name + ", verified", prepare: empty, check: check,
			command: p.command("restore", databaseApp, "latest", "--to-database", restored, "--yes"),
		})
	}
	ours := len(contenders)
	goals := map[int]float64{}
	if b.tools.mydumper.there() && b.tools.myloader.there() {
		dir, err := b.lab.clear("mydumper")
		if err != nil {
			return err
		}
		if _, err := measure(ctx, b.dumpWith(dir), 0); err != nil {
			return err
		}
		for _, threads := range []int{0, b.connections} {
			if b.tools.myloader.zstd() {
				goals[len(contenders)] = goalMyloader
			}
			name := "myloader " + b.tools.myloader.version
			if threads > 0 {
				name += fmt.Sprintf(", %d threads", threads)
			}
			contenders = append(contenders, contender{name: name, prepare: created, check: check, command: b.loadWith(dir, threads)})
		}
	}
	if b.tools.dump.there() && b.tools.zstd.there() && b.tools.client.there() {
		file, err := b.lab.clear("dump.sql.zst")
		if err != nil {
			return err
		}
		if _, err := measure(ctx, b.sqlDump(file), 0); err != nil {
			return err
		}
		goals[len(contenders)] = goalClient
		contenders = append(contenders, contender{name: "zstd -d | mariadb", prepare: created, check: check, command: b.sqlLoad(file)})
	}
	all, err := b.alternate(ctx, b.rounds, contenders)
	if err != nil {
		return err
	}
	b.printSeries(fmt.Sprintf("Restore of a database (rounds: %d)", b.rounds), all, databaseColumns())
	b.printRatios(compare(all, ours, goals), b.gb < tellingGB)
	return errors.Join(b.lab.drop(ctx, restored), b.clearAll(append(b.placeNames(), "mydumper", "dump.sql.zst")))
}

// checksums returns the server's checksum of each table.
func (l *lab) checksums(ctx context.Context, name string) (map[string]string, error) {
	tables, err := l.conn.Query(ctx, "select table_name from information_schema.tables where table_schema = '"+name+"'")
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, t := range tables {
		values, err := l.row(ctx, "checksum table "+name+"."+t[0].Text+" extended")
		if err != nil {
			return nil, err
		}
		sums[t[0].Text] = values[1]
	}
	return sums, nil
}

// compareRestored checks that what was restored is what was backed up.
func (b *bench) compareRestored(ctx context.Context, want map[string]string) error {
	got, err := b.lab.checksums(ctx, restored)
	if err != nil {
		return err
	}
	for table, sum := range want {
		if got[table] != sum {
			return fmt.Errorf("the restored table %s has the checksum %q, not %q", table, got[table], sum)
		}
	}
	return nil
}
