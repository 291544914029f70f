package preflight

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// AskAtOnce is Ask that tells of tables that are held for any time.
func AskAtOnce(ctx context.Context, cfg mysql.Config, in Input) (*Report, error) {
	a := &asker{cfg: cfg, name: cfg.Database, in: in}
	a.cfg.Database = ""
	return a.ask(ctx)
}

// Galera is galera.
func Galera(vars map[string]string) []core.Finding { return galera(vars) }

// GroupMember is groupMember.
func GroupMember(known bool, state, role, online string) []core.Finding {
	return groupMember(known, state, role, online)
}

// Quoted returns what masked hides of a statement, and what is left.
func Quoted(statement string) (text string, quoted []string) {
	m := masked(statement)
	return m.text, m.quoted
}

// AskPretending is Ask of a server that has some variables set otherwise than it has.
func AskPretending(ctx context.Context, cfg mysql.Config, in Input, vars map[string]string) (*Report, error) {
	a := &asker{cfg: cfg, name: cfg.Database, in: in, pretend: vars}
	a.cfg.Database = ""
	return a.ask(ctx)
}
