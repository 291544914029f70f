package itop

import (
	"context"
	"strings"

	"github.com/backstay/backstay/internal/keys"
)

// HistoryTable is the table, after the prefix, that keeps former values of
// encrypted fields (CMDBChangeOpSetAttributeEncrypted).
const HistoryTable = "priv_changeop_setatt_encrypted"

// Failure is a value that does not open. It holds no secret.
type Failure struct {
	Table  string `json:"table"`
	ID     string `json:"id"`
	Column string `json:"column"`
	Why    string `json:"why"` // in a sentence without a full stop
}

// Column is what came of one encrypted column.
type Column struct {
	Table   string `json:"table"`
	Column  string `json:"column"`
	History bool   `json:"history"` // it keeps former values
	Values  int64  `json:"values"`  // all but the empty ones
	Opened  int64  `json:"opened"`
	Unread  string `json:"unread,omitempty"` // why its values could not be read; "": they were
}

// Verdict is what came of opening all encrypted values.
type Verdict struct {
	Columns  []Column  `json:"columns"` // all that can hold some
	Values   int64     `json:"values"`
	Opened   int64     `json:"opened"`
	Failed   int64     `json:"failed"`
	Failures []Failure `json:"failures"` // the first MaxFailures of them
	Proof    Proof     `json:"proof"`
}

// MaxFailures is how many failures a verdict names.
const MaxFailures = 1000

// None says that there is nothing encrypted.
func (v *Verdict) None() bool { return v.Values == 0 && !v.Unread() }

// Unread says whether something could not be read.
func (v *Verdict) Unread() bool {
	for _, c := range v.Columns {
		if c.Unread != "" {
			return true
		}
	}
	return false
}

// Encrypted returns the columns that hold encrypted values. An encrypted
// attribute is iTop's only one whose column is a TINYBLOB, but for the two of a
// one-way password, CODE_hash and CODE_salt or data_hash and data_salt
// (GetSQLCol and GetSQLColumns of core/attributedef.class.inc.php): so modules
// that nobody knows here are found too.
func Encrypted(ctx context.Context, columns keys.Columns) ([]keys.Column, error) {
	all, err := columns(ctx, "tinyblob")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, c := range all {
		there[c.Table+"\x00"+c.Name] = true
	}
	var out []keys.Column
	for _, c := range all {
		if base, ok := strings.CutSuffix(c.Name, "_hash"); ok && there[c.Table+"\x00"+base+"_salt"] {
			continue
		}
		if base, ok := strings.CutSuffix(c.Name, "_salt"); ok && there[c.Table+"\x00"+base+"_hash"] {
			continue
		}
		out = append(out, c)
	}
	return out, nil
}

// Check opens every encrypted value. prefix is that of the tables.
func Check(ctx context.Context, key Key, prefix string, columns keys.Columns, rows keys.Rows) (*Verdict, error) {
	encrypted, err := Encrypted(ctx, columns)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Columns: []Column{}, Failures: []Failure{}, Proof: key.Proof()}
	for _, c := range encrypted {
		out := Column{Table: c.Table, Column: c.Name, History: c.Table == prefix+HistoryTable}
		if c.Key == "" {
			out.Unread = "the table has no key of one column"
			v.Columns = append(v.Columns, out)
			continue
		}
		err := rows(ctx, c.Table, []string{c.Key, c.Name}, func(r []*string) error {
			if r[1] == nil || *r[1] == "" {
				return nil
			}
			out.Values++
			_, err := key.Open([]byte(*r[1]))
			if err == nil {
				out.Opened++
				return nil
			}
			v.Failed++
			if len(v.Failures) < MaxFailures {
				id := ""
				if r[0] != nil {
					id = *r[0]
				}
				v.Failures = append(v.Failures, Failure{c.Table, id, c.Name, err.Error()})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		v.Values += out.Values
		v.Opened += out.Opened
		v.Columns = append(v.Columns, out)
	}
	return v, nil
}
