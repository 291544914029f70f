package dump

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/layout"
	"github.com/backstay/backstay/internal/mysql/unchanged"
)

// Former is an earlier backup of the same database. The rows of a table that
// provably did not change since are taken over from it, unread.
type Former struct {
	Evidence unchanged.Evidence
	Index    core.DatabaseIndex
	Data     map[string]core.Entry // the folders of database/data, by name
	// Unused says why nothing is taken over, whatever did not change; the rest
	// is empty then. "" otherwise.
	Unused string
}

// NewFormer makes a Former of what a backup has at the path that its manifest
// gives for evidence, of its index, and of the entries of database/data.
func NewFormer(evidence []byte, index core.DatabaseIndex, data []core.Entry) (*Former, error) {
	f := &Former{Index: index, Data: map[string]core.Entry{}}
	if err := json.Unmarshal(evidence, &f.Evidence); err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	for _, e := range data {
		f.Data[e.Name] = e
	}
	return f, nil
}

const evidencePath = "database/evidence.json"

// prove compares what is known of this instant with the former backup's. It is
// called once, when the instant is taken.
func (s *Snapshot) prove(ctx context.Context) error {
	if err := s.watch.After(ctx, s.control, s.database, s.Consistency.Method); err != nil {
		return fmt.Errorf("ask which tables changed: %w", err)
	}
	var former *unchanged.Evidence
	s.former = map[string]core.Table{}
	if f := s.opt.Former; f != nil && f.Unused == "" {
		former = &f.Evidence
		for _, t := range f.Index.Tables {
			s.former[t.Name] = t
		}
	}
	s.proof, s.known = s.watch.Prove(former), map[string]*unchanged.Table{}
	for i := range s.watch.Evidence().Tables {
		t := &s.watch.Evidence().Tables[i]
		s.known[t.Name] = t
	}
	return nil
}

// takeOver gives a table the rows of the former backup if nothing changed them
// or its definition, and notes why not otherwise.
//
// The table is not held open. Its definition may be newer than the instant, but
// not when it is the one that the former backup was made with: the proof says
// that the table was not altered between.
func (s *Snapshot) takeOver(ctx context.Context, c *mysql.Conn, t *tableWork) (bool, error) {
	name := t.info.name
	known := s.known[name]
	if known == nil {
		return false, nil
	}
	known.Read = s.Time.Unix()
	known.Why = s.proof.Of(name, t.info.created, s.Time)
	if f := s.opt.Former; f != nil && f.Unused != "" {
		known.Why = f.Unused
	}
	if known.Why != "" {
		return false, nil
	}
	former, ok := s.former[name]
	entry, has := s.opt.Former.Data[layout.FileName(name)]
	if !ok || !has && len(former.Chunks) > 0 {
		known.Why = "the earlier backup has no rows of it"
		return false, nil
	}
	create, err := showCreate(ctx, c, name)
	if mysql.Number(err) != 0 { // told by the reading of it
		known.Why = "its definition cannot be read"
		return false, nil
	}
	if err != nil {
		return false, tableError(name, err)
	}
	if known.Definition, known.Child = describe(create); !s.proof.Defined(name, known.Definition) {
		known.Why = "its definition is another one"
		return false, nil
	}
	if slices.ContainsFunc(ddl.FindMasked(create), func(m ddl.Masked) bool { return len(m.Members) > 0 }) {
		known.Why = "its definition is only told whole by its rows"
		return false, nil
	}
	t.def = &definition{create: create, stored: s.unqualified(create), columns: former.Columns, key: former.Key}
	if err := s.unmask(ctx, c, t); err != nil {
		return false, tableError(name, err)
	}
	t.former, t.data = &former, entry
	known.Read = s.proof.Read(name)
	return true, nil
}

// describe returns what tells a definition from any other, and whether it has
// foreign keys.
func describe(create string) (sum string, child bool) {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(nextID.ReplaceAllString(create, "")))), strings.Contains(create, "FOREIGN KEY")
}

// WhyRead says why the next backup cannot tell which tables changed since this
// instant, other than that nobody wrote to the server at all; "" when it can.
func (s *Snapshot) WhyRead() string {
	if s.Consistency.Method == MethodSingle {
		return "an instant that is taken without a lock may cut through a commit"
	}
	return s.watch.Evidence().Why
}

// noteDefinition notes the definition that a table is read with.
func (s *Snapshot) noteDefinition(t *tableWork) {
	if known := s.known[t.info.name]; known != nil {
		known.Definition, known.Child = describe(t.def.create)
	}
}

// writeEvidence stores what the next backup needs to know of this instant.
func (s *Snapshot) writeEvidence(ctx context.Context, w core.TreeWriter) (core.Entry, error) {
	e := s.watch.Evidence()
	// A table of which nothing was taken, such as a view of another prefix, is
	// nothing that could be taken over.
	e.Tables = slices.DeleteFunc(e.Tables, func(t unchanged.Table) bool { return t.Read == 0 })
	text, err := json.Marshal(e)
	if err != nil {
		return core.Entry{}, errors.Join(errors.New("write evidence"), err)
	}
	return layout.WriteFile(ctx, w, evidencePath, "evidence.json", text)
}
