package sqlread_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// Of a dump of several databases only the first one's statements come out.
func TestSeveralDatabases(t *testing.T) {
	dump, err := os.ReadFile("../sqlcheck/testdata/several_databases.sql")
	if err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]string{
		"":   "use x1, drop t, create t, insert t, set , use x1, create u",
		"x2": "use x2, drop t, create t, insert t, set ",
	} {
		r := sqlread.New(bytes.NewReader(dump), sqlread.Options{Database: database})
		var got []string
		for {
			st, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if core.CodeOf(err) != core.CodeUnsupported {
					t.Fatal(err)
				}
				continue
			}
			if st.Kind == sqlread.KindUse && len(got) > 0 && got[len(got)-1] == "use "+st.Name {
				continue
			}
			got = append(got, string(st.Kind)+" "+st.Name)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("database %q: %s", database, text)
		}
	}
}

// No dump is of a database that belongs to the server.
func TestSystemDatabases(t *testing.T) {
	for _, statement := range []string{"DROP DATABASE mysql", "USE Mysql", "CREATE DATABASE sys", "USE performance_schema", "DROP DATABASE IF EXISTS information_schema"} {
		r := sqlread.New(strings.NewReader(statement+";"), sqlread.Options{})
		if st, err := r.Next(); core.CodeOf(err) != core.CodeUnsupported {
			t.Errorf("%s: %+v, %v", statement, st, err)
		}
	}
}

// MySQL up to 5.0 wrote an engine as TYPE.
func TestEngineAsType(t *testing.T) {
	r := sqlread.New(strings.NewReader("CREATE TABLE a (type int) TYPE=MyISAM DEFAULT CHARSET=latin1;"), sqlread.Options{})
	st, err := r.Next()
	if err != nil || st.Text != "CREATE TABLE a (type int) ENGINE=MyISAM DEFAULT CHARSET=latin1" || st.Engine != "MyISAM" {
		t.Errorf("%+v, %v", st, err)
	}
}
