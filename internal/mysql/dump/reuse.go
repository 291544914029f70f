package dump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/unchanged"
)

// Former is an earlier backup of the same database. The rows of a table that
// provably did not change since are taken over from it, unread.
type Former struct {
	Evidence unchanged.Evidence
	Index    core.DatabaseIndex
	Data     map[string]core.Entry // the folders of database/data, by name
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
	if f := s.opt.Former; f != nil {
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

// takeOver gives a table the rows of the former backup if nothing changed them,
// and notes why not otherwise.
func (s *Snapshot) takeOver(t *tableWork) bool {
	known := s.known[t.info.name]
	why := s.proof.Of(t.info.name, t.def.create, t.info.created, s.Time)
	former, ok := s.former[t.info.name]
	if why == "" && (!ok || !slices.Equal(former.Columns, t.def.columns) || !slices.Equal(former.Key, t.def.key)) {
		why = "its rows would be read in another way"
	}
	var entry core.Entry
	if why == "" && len(former.Chunks) > 0 {
		if entry, ok = s.opt.Former.Data[fileName(t.info.name)]; !ok {
			why = "the earlier backup has no folder of it"
		}
	}
	if why == "" {
		t.former, t.data = &former, entry
	}
	if known != nil {
		known.Why, known.Read = why, s.Time.Unix()
		if why == "" {
			known.Read = s.proof.Read(t.info.name)
		}
	}
	return why == ""
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
	return writeFile(ctx, w, evidencePath, "evidence.json", text)
}
