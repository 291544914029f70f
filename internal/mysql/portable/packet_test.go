package portable_test

import (
	"fmt"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestPacketLimits: what a plan says of rows that are larger than
// max_allowed_packet is what happens: LOAD DATA LOCAL takes them and they are
// read back; where it is forbidden, and where a server takes no packets of the
// size that it uses, the plan refuses the table by name and size.
func TestPacketLimits(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database, "CREATE TABLE wide (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO wide VALUES (1, REPEAT('x', 3000000)), (2, 'y')",
		"CREATE TABLE narrow (id INT PRIMARY KEY, v LONGBLOB)", "INSERT INTO narrow VALUES (1, 'y')")
	d := dumpOf(t, database)
	var longest int64
	for _, table := range d.index.Tables {
		longest = max(longest, table.LongestRow)
	}
	for _, c := range []struct {
		name    string
		args    []string
		refused []string
		says    string
	}{
		{"LOAD DATA LOCAL", []string{"--max-allowed-packet=1M", "--local-infile=1"}, nil, ""},
		{"INSERT", []string{"--max-allowed-packet=1M", "--local-infile=0"}, []string{"table wide"}, fmt.Sprint(longest)},
		{"INSERT with room", []string{"--max-allowed-packet=8M", "--local-infile=0"}, nil, ""},
		{"tiny packets", []string{"--max-allowed-packet=64K", "--local-infile=1"}, []string{"table wide"}, "pieces of 262144"},
		{"tiny packets and INSERT", []string{"--max-allowed-packet=64K", "--local-infile=0"}, []string{"table wide"}, fmt.Sprint(longest)},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := mysqltest.Start(t, localserver.Options{Name: "packets", Args: c.args})
			mysqltest.ExecOn(t, mysqltest.ConfigOf(target, ""), "CREATE DATABASE copy")
			to := mysqltest.ConfigOf(target, "copy")
			p := d.plan(t, to, nil)
			if got := fmt.Sprint(p.Objects()); got != fmt.Sprint(c.refused) {
				t.Errorf("refused are %s, want %v", got, c.refused)
			}
			_, err := d.load(t, to, p, nil)
			if len(c.refused) == 0 {
				if err != nil {
					t.Errorf("%v (hint: %s)", err, core.HintOf(err))
				}
				return
			}
			wantRefusal(t, err, "table wide", c.says, "max_allowed_packet")
			if n := len(tablesOf(t, to)); n > 0 {
				t.Errorf("%d tables were made before the refusal", n)
			}
			if _, err := d.load(t, to, d.plan(t, to, []string{"narrow"}), []string{"narrow"}); err != nil {
				t.Errorf("the other table: %v", err)
			}
			// The refusal is no more than the truth: without the plan it fails.
			if _, err := d.load(t, to, nil, []string{"wide"}); err == nil {
				t.Error("the row came in")
			}
		})
	}
}

// TestJSONLimit: MySQL makes no JSON document larger than max_allowed_packet,
// however it comes; the plan says so first.
func TestJSONLimit(t *testing.T) {
	if mysqltest.OnMariaDB(t) {
		t.Skip("MariaDB keeps JSON as text, which has no such limit")
	}
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database, "CREATE TABLE docs (id INT PRIMARY KEY, v JSON)", "INSERT INTO docs VALUES (1, JSON_QUOTE(REPEAT('x', 3000000)))")
	d := dumpOf(t, database)
	target := mysqltest.Start(t, localserver.Options{Name: "packets", Args: []string{"--max-allowed-packet=1M"}})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(target, ""), "CREATE DATABASE copy")
	to := mysqltest.ConfigOf(target, "copy")
	_, err := d.load(t, to, d.plan(t, to, nil), nil)
	wantRefusal(t, err, "table docs", "JSON", "max_allowed_packet=3145728")
	if _, err := d.load(t, to, nil, nil); err == nil {
		t.Error("the document came in")
	}
}
