package restore_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/portable"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

var server = regexp.MustCompile(`("vendor":\s*)"[a-z]*"(,\s*"version":\s*)"[^"]*"`)

// fromMySQL makes a backup look as if MySQL had made it, with tables of its
// kind: a can be carried to MariaDB, b cannot.
func fromMySQL(t *testing.T, store repository.Store, rec repository.Record) *memory.Store {
	t.Helper()
	return enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
		switch p {
		case "manifest.json":
			return server.ReplaceAll(data, []byte(`$1"mysql"$2"9.7.4"`))
		case "database/schema/table/a.sql":
			at := bytes.LastIndexByte(data, ')')
			return append(data[:at:at], ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='COLLATE utf8mb4_0900_ai_ci'"...)
		case "database/schema/table/b.sql":
			at := bytes.LastIndexByte(data, ')')
			return append(data[:at:at], ",\n  UNIQUE KEY `lower` ((lower(`v`)))\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"...)
		}
		return data
	}})
}

// TestRestoreOfAnotherServersBackup: the plan says what is rewritten and what
// is refused; a refusal touches nothing; the rest can be restored, as the plan
// said.
func TestRestoreOfAnotherServersBackup(t *testing.T) {
	a, store := enginetest.NewApp(t), memory.New()
	id := enginetest.Backup(t, enginetest.New(t, store), a.Target).ID
	e := enginetest.New(t, fromMySQL(t, store, enginetest.Find(t, enginetest.New(t, store), id)))
	before := a.State(t)
	to := a.DB + "_copy"
	plan := func(req restore.Request) *restore.Restore {
		req.Target, req.Record = a.Target, enginetest.Find(t, e, "shop@latest")
		r, err := restore.Make(t.Context(), e, req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, req := range []restore.Request{{}, {ToDatabase: to}, {Tables: []string{"b"}, ToDatabase: to}} {
		r := plan(req)
		said := said(r)
		if len(req.Tables) == 0 && !strings.Contains(said, "rewrite: : table a: collation utf8mb4_0900_ai_ci -> utf8mb4_") {
			t.Errorf("the plan does not say what is rewritten:\n%s", said)
		}
		if !strings.Contains(said, "table b: cannot be restored there: UNIQUE KEY lower is on an expression") {
			t.Errorf("the plan does not say what is refused:\n%s", said)
		}
		_, err := r.Run(t.Context())
		enginetest.WantError(t, err, core.CodeNotPortable, "table b", "nothing was changed", "generated column")
		if len(mysqltest.Query(t, "", "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(to))) > 0 {
			t.Error("the database was made before the refusal")
		}
	}
	if diff := cmp.Diff(before, a.State(t)); diff != "" {
		t.Errorf("the refusal changed something:\n%s", diff)
	}
	r := plan(restore.Request{Tables: []string{"a"}, ToDatabase: to})
	text, err := json.Marshal(r.Plan)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(`"rewrites":[{"object":"table a","rule":"collation","from":"utf8mb4_0900_ai_ci","to":"utf8mb4_`)) || !bytes.Contains(text, []byte(`"refusals":[]`)) {
		t.Errorf("the plan as JSON is %s", text)
	}
	at := slices.IndexFunc(r.Plan.Rewrites, func(w portable.Rewrite) bool { return w.Rule == "collation" })
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	made := mysqltest.ShowCreate(t, to)["table a"]
	if !strings.Contains(made, "COLLATE="+r.Plan.Rewrites[at].To) || !strings.Contains(made, "'COLLATE utf8mb4_0900_ai_ci'") {
		t.Errorf("not what the plan said: %s", made)
	}
}

// TestRowsThatDoNotFit: a row that the server's packets cannot hold is named in
// the plan, with its size.
func TestRowsThatDoNotFit(t *testing.T) {
	a, store := enginetest.NewApp(t), memory.New()
	mysqltest.ExecIn(t, a.DB, "CREATE TABLE large (id INT PRIMARY KEY, v LONGTEXT)", "INSERT INTO large VALUES (1, REPEAT('x', 2000000))")
	e := enginetest.New(t, store)
	enginetest.Backup(t, e, a.Target)
	small := mysqltest.Start(t, localserver.Options{Name: "small", Args: []string{"--max-allowed-packet=1M", "--local-infile=0"}})
	target := a.Target
	target.App.Database.Socket, target.App.Database.Name = small.Socket, "copy"
	for _, tables := range [][]string{nil, {"large"}, {"a", "b"}} {
		r, err := restore.Make(t.Context(), e, restore.Request{Target: target, Record: enginetest.Find(t, e, "shop@latest"), Only: []core.Component{core.ComponentDatabase}, Tables: tables})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Run(t.Context())
		if slices.Contains(tables, "a") {
			if err != nil {
				t.Errorf("the tables that fit: %v", err)
			}
			continue
		}
		enginetest.WantError(t, err, core.CodeNotPortable, "table large", "2000003 bytes", "SET GLOBAL local_infile=1")
		if !strings.Contains(said(r), "table large: cannot be restored there: its longest row has 2000003 bytes") {
			t.Errorf("the plan does not say it: %q", r.Plan.Findings)
		}
	}
}
