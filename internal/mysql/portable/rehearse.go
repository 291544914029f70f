package portable

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// probe is a rewritten statement that can be tried under another name.
type probe struct {
	object        string
	drop          string // "TABLE", "PROCEDURE", "FUNCTION"
	before, after string // of the name
	settings      []string
}

// namePlace stands in a statement for the name.
const namePlace = "\x00"

func (b *builder) probe(object, drop, statement string, settings ...string) {
	if before, after, ok := strings.Cut(statement, namePlace); ok {
		b.plan.probes = append(b.plan.probes, probe{object, drop, before, after, settings})
	}
}

// probe keeps the table's statement without what must be there once in a
// database: its name, and those of its constraints.
func (x *table) probe() {
	if x.engine == "mrg_myisam" || x.at(2).kind != name {
		return
	}
	for i, p := range x.items {
		if x.gone[i] || !x.is(p.from, "CONSTRAINT") {
			continue
		}
		if x.is(p.from+1, "FOREIGN") || x.is(p.from+2, "FOREIGN") {
			x.gone[i] = true
		} else if x.at(p.from+1).kind == name && x.is(p.from+2, "CHECK") {
			x.drop(p.from, p.from+2)
		}
	}
	x.extra = nil // it is there already
	x.removeItems()
	x.replace(2, 3, namePlace)
	x.builder.probe(x.object, "TABLE", x.String(), "foreign_key_checks=0", "sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
}

// probeRoutine keeps the statement of a routine.
func (b *builder) probeRoutine(s *statement, o core.SchemaObject) {
	kind := strings.ToUpper(o.Kind)
	if kind != "PROCEDURE" && kind != "FUNCTION" {
		return
	}
	for i := range s.len() {
		if s.is(i, kind) && i+1 < s.len() {
			s.replace(i+1, i+2, namePlace)
			b.probe(label(o), kind, s.String(), "sql_mode="+mysql.QuoteText(o.SQLMode), "character_set_client="+mysql.QuoteText(o.Charset), "collation_connection="+mysql.QuoteText(o.Collation))
			return
		}
	}
}

// Rehearse makes every rewritten table, empty, and every rewritten routine
// under the name given in c's database, and drops it again: what the rules do
// not know and the server does not take is found while nothing is touched. What
// it refuses is an error with core.CodeNotPortable.
func (p *Plan) Rehearse(ctx context.Context, c *mysql.Conn, name string) error {
	if p == nil || len(p.probes) == 0 {
		return nil
	}
	// As package load has them; not every server knows each.
	for _, set := range []string{"innodb_strict_mode=0", "explicit_defaults_for_timestamp=1", "sql_require_primary_key=0", "sql_generate_invisible_primary_key=0"} {
		if _, err := c.Exec(ctx, "SET SESSION "+set); err != nil && mysql.Number(err) == 0 {
			return err
		}
	}
	for _, try := range p.probes {
		if _, err := c.Exec(ctx, "SET "+strings.Join(try.settings, ", ")); err != nil {
			return fmt.Errorf("rehearse %s: %w", try.object, err)
		}
		_, err := c.Exec(ctx, try.before+mysql.QuoteName(name)+try.after)
		switch {
		case mysql.AccessDenied(err):
			continue // a definer, which is left out then
		case mysql.Number(err) != 0:
			return &core.Error{
				Code: core.CodeNotPortable, Op: "restore " + try.object, Message: "nothing was restored, because the server does not take its definition", Err: err,
				Hint: "change it at the origin, or restore the tables that are wanted with --table",
			}
		case err != nil:
			return err
		}
		if _, err := c.Exec(ctx, "DROP "+try.drop+" IF EXISTS "+mysql.QuoteName(name)); err != nil {
			return fmt.Errorf("rehearse %s: %w", try.object, err)
		}
	}
	_, err := c.Exec(ctx, "SET NAMES utf8mb4")
	return err
}
