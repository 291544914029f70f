package itop_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// server is a profile.Querier on a real server.
type server struct {
	conn *mysql.Conn
	// before and after, when set, are called with the number of each query.
	before, after func(n int)
	queries       int
}

func (s *server) Query(ctx context.Context, statement string) ([][]*string, error) {
	if s.before != nil {
		s.before(s.queries + 1)
	}
	rows, err := s.conn.Query(ctx, statement)
	out := [][]*string{}
	for _, r := range rows {
		line := []*string{}
		for _, v := range r {
			if v.Null {
				line = append(line, nil)
				continue
			}
			text := v.Text
			line = append(line, &text)
		}
		out = append(out, line)
	}
	if s.queries++; s.after != nil {
		s.after(s.queries)
	}
	return out, err
}

// TestVersionsFromServer: two runs of the setup, and another iTop in the same
// database whose prefix looks like this one's to LIKE.
func TestVersionsFromServer(t *testing.T) {
	database := mysqltest.Database(t)
	for prefix, version := range map[string]string{"i_": "3.2.0-1-1", "ix": "2.7.0-0"} {
		mysqltest.ExecIn(t, database,
			"CREATE TABLE "+prefix+"priv_module_install (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(255), version VARCHAR(255), parent_id INT DEFAULT 0)",
			"CREATE TABLE "+prefix+"priv_extension_install (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(255), label VARCHAR(255), version VARCHAR(255), source VARCHAR(255), installed DATETIME)",
			"INSERT INTO "+prefix+"priv_module_install VALUES (1,'datamodel','9.9',0),(2,'iTop','3.1.0-1-1',0),(3,'gone','3.1.0',2),"+
				"(4,'datamodel','9.9',0),(5,'iTop','"+version+"',0),(6,'itop-tickets','3.2.0',5),(7,'itop-backup',NULL,5)",
			"INSERT INTO "+prefix+"priv_extension_install VALUES (1,'old','Old','1','datamodels','2024-01-01'),(2,'core','Core','3.2.0','datamodels','2025-01-01'),(3,'mine','Mine','1.0','extensions','2025-01-01')")
	}
	found := &core.Application{Database: &core.DatabaseSource{Name: database, Prefix: "i_"}, Versions: map[string]string{}}
	q := &server{conn: mysqltest.Connect(t, mysqltest.Config(t, database))}
	if err := (itop.Profile{}).Versions(t.Context(), q, found); err != nil {
		t.Fatal(err)
	}
	want := []core.Module{
		{Name: "itop-backup"}, {Name: "itop-tickets", Version: "3.2.0"},
		{Name: "core", Version: "3.2.0", Source: "extension:datamodels"}, {Name: "mine", Version: "1.0", Source: "extension:extensions"},
	}
	if diff := cmp.Diff(want, found.Modules); diff != "" {
		t.Error(diff)
	}
	if found.Versions[itop.VersionSchema] != "3.2.0-1-1" || len(found.Warnings) != 0 {
		t.Errorf("%v %v", found.Versions, found.Warnings)
	}
	found = &core.Application{Database: &core.DatabaseSource{Name: database, Prefix: "no"}, Versions: map[string]string{}}
	if err := (itop.Profile{}).Versions(t.Context(), q, found); err != nil || len(found.Warnings) == 0 {
		t.Errorf("%v %v", err, found.Warnings)
	}
}

// TestLocksOnServer holds iTop's locks from another connection.
func TestLocksOnServer(t *testing.T) {
	database := mysqltest.Database(t)
	config := mysqltest.Config(t, database)
	holder, q := mysqltest.Connect(t, config), &server{conn: mysqltest.Connect(t, config)}
	hold := func(function, lock string) {
		t.Helper()
		timeout := ""
		if function == "GET_LOCK" {
			timeout = ", 0"
		}
		rows, err := holder.Query(t.Context(), "SELECT "+function+"('"+lock+"'"+timeout+")")
		if err != nil || rows[0][0].Text != "1" {
			t.Fatalf("%s: %v %v", function, rows, err)
		}
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	cron, restore := itop.LockName("cron", database, ""), itop.LockName("restore.production", database, "")
	found := &core.Application{Settings: map[string]string{itop.SettingCronLock: cron, itop.SettingRestoreLock: restore, itop.SettingCronLimit: "60"}}

	hold("GET_LOCK", restore)
	if err := (itop.Profile{}).Busy(t.Context(), q, found); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("while iTop restores: %v", err)
	}
	hold("RELEASE_LOCK", restore)
	if err := (itop.Profile{}).Busy(t.Context(), q, found); err != nil {
		t.Error(err)
	}

	hold("GET_LOCK", cron)
	q.queries = 0
	q.after = func(n int) {
		if n == 2 { // cron ends after the second look
			hold("RELEASE_LOCK", cron)
		}
	}
	leave, err := itop.Profile{Poll: time.Millisecond}.ReadOnly(t.Context(), q, profile.App{Name: "desk", Root: root}, found)
	if err != nil || q.queries != 3 {
		t.Errorf("%v after %d looks", err, q.queries)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
}
