package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
)

// lab is where the measuring is done: a private server that is set up as a real
// one, and a folder inside the server's, which shares its fate: however this
// process ends, both are removed.
type lab struct {
	dir       string
	server    *localserver.Server
	conn      *mysql.Conn
	pid       int
	version   string
	datasetGB float64 // 0: there is no dataset
	progress  io.Writer
}

func startLab(ctx context.Context, parent string, progress io.Writer) (*lab, error) {
	server, err := localserver.Start(ctx, localserver.Options{
		Dir: parent, Name: "bench", BufferPool: 2 << 30, LogFile: 1 << 30, Durable: true,
		// The private servers of tests do without, as there are many at once.
		Args: []string{"--innodb-use-native-aio=ON", "--max-allowed-packet=64M", "--local-infile=1"},
	})
	if err != nil {
		return nil, err
	}
	l := &lab{dir: filepath.Join(server.Dir, "bench"), server: server, progress: progress}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) open(ctx context.Context) error {
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return err
	}
	if l.server.Vendor != "mariadb" {
		return errors.New("the dataset needs MariaDB's sequence engine, and the server here is MySQL")
	}
	var err error
	if l.conn, err = mysql.Connect(ctx, mysql.Config{Socket: l.server.Socket, User: l.server.User}); err != nil {
		return err
	}
	values, err := l.row(ctx, "select version(), @@pid_file")
	if err != nil {
		return err
	}
	l.version = values[0]
	text, err := os.ReadFile(values[1])
	if err != nil {
		return fmt.Errorf("read the number of the server's process: %w", err)
	}
	l.pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return err
}

func (l *lab) close() error {
	var err error
	if l.conn != nil {
		err = l.conn.Close()
	}
	return errors.Join(err, l.server.Close())
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.progress, "bench: "+format+"\n", args...)
}

func (l *lab) exec(ctx context.Context, statement string) error {
	_, err := l.conn.Exec(ctx, statement)
	return err
}

// row returns the values of a query's first row as text.
func (l *lab) row(ctx context.Context, query string) ([]string, error) {
	rows, err := l.conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no answer to: %s", query)
	}
	var values []string
	for _, v := range rows[0] {
		values = append(values, v.Text)
	}
	return values, nil
}

func number(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseFloat(text, 64)
}

func (l *lab) drop(ctx context.Context, name string) error {
	return l.exec(ctx, "drop database if exists "+name)
}

// create makes an empty database in place of any that has its name.
func (l *lab) create(ctx context.Context, name string) error {
	if err := l.drop(ctx, name); err != nil {
		return err
	}
	return l.exec(ctx, "create database "+name+" default charset utf8mb4")
}

// folder makes a new, empty folder in place of what has its name in the lab.
func (l *lab) folder(name string) (string, error) {
	path, err := l.clear(name)
	if err != nil {
		return "", err
	}
	return path, os.MkdirAll(path, 0o700)
}

// clear removes what has that name in the lab and returns its path.
func (l *lab) clear(name string) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.RemoveAll(path)
}

const (
	restLimit    = 10 * time.Minute
	restPages    = 100 // dirty pages, of 16 kB, that the server's own upkeep may leave
	restUnpurged = 100 // transactions
	pollEvery    = 100 * time.Millisecond
)

// rest waits until the server has written what it has to write and the file
// system too, so that nobody pays for the work of those before.
func (l *lab) rest(ctx context.Context) error {
	usual, err := l.row(ctx, "select @@innodb_io_capacity, @@innodb_io_capacity_max, @@innodb_max_dirty_pages_pct")
	if err != nil {
		return err
	}
	if err := l.pace(ctx, "100000", "100000", "0"); err != nil {
		return err
	}
	err = l.waitClean(ctx)
	if paceErr := l.pace(ctx, usual[0], usual[1], usual[2]); paceErr != nil {
		return errors.Join(err, paceErr)
	}
	syscall.Sync()
	return err
}

// pace sets how eagerly InnoDB writes.
func (l *lab) pace(ctx context.Context, capacity, capacityMax, dirtyPercent string) error {
	// Capacity may not exceed its maximum, whichever of them falls first.
	for _, setting := range []string{
		"innodb_io_capacity_max = 100000", "innodb_io_capacity = " + capacity,
		"innodb_io_capacity_max = " + capacityMax, "innodb_max_dirty_pages_pct = " + dirtyPercent,
	} {
		if err := l.exec(ctx, "set global "+setting); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) waitClean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	for {
		values, err := l.row(ctx, `select sum(if(variable_name = 'Innodb_history_list_length', 0, variable_value)),
			sum(if(variable_name = 'Innodb_history_list_length', variable_value, 0)) from information_schema.global_status
			where variable_name in ('Innodb_buffer_pool_pages_dirty', 'Innodb_history_list_length')`)
		if err != nil {
			return fmt.Errorf("wait for the server to come to rest: %w", err)
		}
		dirty, err := number(values[0])
		if err != nil {
			return err
		}
		// What deleted rows leave is purged in the background.
		unpurged, err := number(values[1])
		if err != nil {
			return err
		}
		if dirty <= restPages && unpurged <= restUnpurged {
			return nil
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fmt.Errorf("wait for the server to come to rest (%g dirty pages, %g transactions to purge): %w", dirty, unpurged, err)
		}
	}
}

// settle lets the server's clock move on, in whole seconds: what changed a
// moment ago may count as changed during the next backup.
func (l *lab) settle(ctx context.Context) error { return pause(ctx, 4*time.Second) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
