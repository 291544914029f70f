package preflight

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
)

// findLost looks for live objects that a switch drops and that this account
// could not make again as they are: neither an undo nor a switch that is taken
// back could. Views are renamed and keep their definers.
func (a *asker) findLost(ctx context.Context) (err error) {
	if !a.r.Exists || a.in.Copy || a.target.AnyDefiner || a.barred != "" {
		return nil
	}
	now, err := a.liveDefiners(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(now, func(label, who string) bool { return strings.HasPrefix(label, "view ") || who == a.account })
	if len(now) == 0 {
		return nil
	}
	objects, err := a.liveObjects(ctx)
	if err != nil {
		return err
	}
	lost := map[string][]string{}
	for _, o := range objects {
		label := o.Kind + " " + o.Name
		if who, others := now[label]; others && a.replaces(o) {
			lost[who] = append(lost[who], label)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(lost)) {
		one := "run"
		if len(lost[who]) == 1 {
			one = "runs"
		}
		a.find(core.FindingDecision, "definer-lost", "live "+core.Some(lost[who], shown), "give an account that may, or GRANT SET USER ON *.* (MariaDB), SET_ANY_DEFINER ON *.* (MySQL) TO this one",
			"%s as %s; account %s cannot give that back: neither undo nor a switch that is taken back could", one, who, a.account)
	}
	return nil
}

// liveObjects reads what is there now, as a switch does.
func (a *asker) liveObjects(ctx context.Context) (_ []dump.Object, err error) {
	cfg := a.cfg
	cfg.Database = a.name
	var sessions [2]*mysql.Conn
	for i := range sessions {
		c, err := mysql.Connect(ctx, cfg)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		sessions[i] = c
	}
	if _, err := sessions[1].Exec(ctx, "SET character_set_results=NULL"); err != nil {
		return nil, err
	}
	objects, _, err := dump.Objects(ctx, sessions[0], sessions[1], a.r.Server, a.name, "")
	return objects, err
}

// replaces says whether a live object, which the account can read, is dropped
// by a switch: it goes with its table, or is another one in the backup.
func (a *asker) replaces(o dump.Object) bool {
	named := func(b core.SchemaObject) bool { return b.Kind == o.Kind && strings.EqualFold(b.Name, o.Name) }
	i := slices.IndexFunc(a.objects, named)
	switch {
	case o.Kind == "trigger":
		return i >= 0 || slices.ContainsFunc(a.r.Live, func(t LiveTable) bool {
			return a.key(t.Name) == a.key(o.Table) && (t.InBackup || a.in.Clean && len(a.in.Tables) == 0 && strings.HasPrefix(a.key(t.Name), a.key(a.in.Database.Prefix)))
		})
	case o.Kind == "view" || o.Kind == "sequence" || len(a.in.Tables) > 0:
		return false
	case i < 0:
		return a.in.Clean && strings.HasPrefix(a.key(o.Name), a.key(a.in.Database.Prefix))
	}
	b := a.in.Plan.Object(a.objects[i])
	text, read := a.texts[b.File]
	b.File, o.File = "", ""
	return b != o.SchemaObject || !read || text != string(o.Statement)
}
