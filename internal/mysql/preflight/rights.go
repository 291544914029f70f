package preflight

import (
	"context"
	"fmt"
	"regexp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// right is a right in the database that the restore needs.
type right struct {
	name  string
	tries []try
	// without says what is so without it, of a right without which a restore
	// is possible all the same, and kind what that means.
	without string
	kind    core.FindingKind
}

// try is a statement that takes a right. What it makes is removed by undo. It
// may use what an earlier one made.
type try struct {
	statement, undo string
}

var foreignKey = regexp.MustCompile(`FOREIGN KEY ?\(`)

// rightsNeeded lists what the restore needs, with statements on objects called
// name. The first two are those to drop and to make tables.
func (a *asker) rightsNeeded(name string) []right {
	q, v := mysql.QuoteName(name), mysql.QuoteName(name+"_v")
	drop := "DROP TABLE IF EXISTS " + q
	var needed []right
	need := func(name, statement, undo string) *right {
		needed = append(needed, right{name: name, tries: []try{{statement, undo}}})
		return &needed[len(needed)-1]
	}
	need("DROP", drop, "")
	need("CREATE", "CREATE TABLE "+q+" (id INT PRIMARY KEY, x INT)", drop)
	need("INSERT", "INSERT INTO "+q+" VALUES (1, 1)", "")
	need("SELECT", "SELECT * FROM "+q, "")
	need("ALTER", "ALTER TABLE "+q+" ADD COLUMN y INT", "")
	need("INDEX", "CREATE INDEX x ON "+q+" (x)", "")
	if triggers := a.has("trigger") || a.triggers; !a.in.Copy {
		r := need("LOCK TABLES", "LOCK TABLES "+q+" WRITE", "UNLOCK TABLES")
		if !triggers { // with them, their tables are locked while they are given their names
			r.kind, r.without = core.FindingFine, "a switch that has to wait cannot say for which table"
		}
	}
	for _, t := range a.tables {
		if a.r.Server.MariaDB() {
			break // which asks for no such right
		}
		if text, ok := a.texts[t.Schema]; ok && foreignKey.MatchString(masked(text).text) {
			need("REFERENCES", "ALTER TABLE "+q+" ADD FOREIGN KEY (x) REFERENCES "+q+" (id)", "")
			break
		}
	}
	if a.has("view") {
		need("CREATE VIEW", "CREATE VIEW "+v+" AS SELECT id FROM "+q, "DROP VIEW IF EXISTS "+v)
	}
	if (a.has("view") || a.views) && !a.in.Copy {
		r := need("SHOW VIEW", "CREATE OR REPLACE VIEW "+v+" AS SELECT id FROM "+q, "DROP VIEW IF EXISTS "+v)
		r.tries = append(r.tries, try{"SHOW CREATE VIEW " + v, ""})
		if !a.views { // with them, the switch must read them, for the way back
			r.kind, r.without = core.FindingDecision, "views can be restored, and the restore cannot be undone, nor are they in backups"
		}
	}
	if a.has("trigger") {
		need("TRIGGER", "CREATE TRIGGER "+q+" BEFORE INSERT ON "+q+" FOR EACH ROW SET NEW.x = 1", "DROP TRIGGER IF EXISTS "+q)
	}
	routines := map[string]string{}
	if a.has("function") {
		routines["FUNCTION"] = q + "() RETURNS INT DETERMINISTIC NO SQL RETURN 1"
	}
	if a.has("procedure", "package", "package body") {
		routines["PROCEDURE"] = q + "() SET @backstay = 1"
	}
	for _, kind := range []string{"FUNCTION", "PROCEDURE"} {
		if body, ok := routines[kind]; ok {
			undo := "DROP " + kind + " IF EXISTS " + q
			need("ALTER ROUTINE", undo, "")
			need("CREATE ROUTINE", "CREATE "+kind+" "+body, undo)
		}
	}
	if a.has("event") {
		need("EVENT", "CREATE EVENT "+q+" ON SCHEDULE AT '2037-01-01 00:00:00' DISABLE DO SET @backstay = 1", "DROP EVENT IF EXISTS "+q)
	}
	return needed
}

// findRights looks whether the account may do what the restore needs, by its
// grants and, unless that is forbidden or in vain, by doing it.
func (a *asker) findRights(ctx context.Context) error {
	a.r.MakesDatabases = a.grants != nil && a.global("CREATE") && a.global("DROP") && a.global("INSERT") && a.global("SELECT") && a.global("ALTER") && a.global("INDEX")
	needed := a.rightsNeeded(ProbePrefix)
	before := len(a.r.Findings)
	switch {
	case a.barred != "":
	case a.in.DryRun:
		a.rightsByGrants(needed)
		if len(a.r.Findings) == before {
			a.fine("rights", a.name, "by its grants account %s may do all that the restore needs; it was not tried, because nothing is made on the server in a dry run", a.account)
		}
	case a.keepsWritesAway():
		a.rightsByGrants(needed)
		a.fine("rights", a.name, "the account's rights were not tried, because the server takes no writes")
	case !a.r.Exists && !a.r.MakesDatabases:
		a.rightsByGrants(needed)
		if len(a.r.Findings) == before {
			a.fine("rights", a.name, "by its grants account %s may make the database and do in it all that the restore needs; it was not tried", a.account)
		}
	default:
		if err := a.probe(ctx); err != nil {
			return err
		}
		if len(a.r.Findings) == before {
			a.fine("rights", a.name, "account %s may do all that the restore needs; each was tried", a.account)
		}
	}
	return nil
}

// keepsWritesAway says whether it was found that the server takes no writes.
func (a *asker) keepsWritesAway() bool {
	for _, f := range a.r.Findings {
		switch f.Name {
		case "read-only-server", "forced-recovery", "cluster-not-ready":
			if f.Kind == core.FindingImpossible {
				return true
			}
		}
	}
	return false
}

func (a *asker) rightsByGrants(needed []right) {
	if a.grants == nil {
		a.fine("rights", a.name, "not known: account %s may not see its own grants", a.account)
		return
	}
	for _, r := range needed {
		if a.here(r.name) {
			continue
		}
		if a.roles {
			a.fine("rights", a.name, "account %s does not have the right %s itself, and has roles: whether they give it is not known", a.account, r.name)
			continue
		}
		a.lacks(r, "")
	}
	// No other right is enough, on either vendor's servers.
	if !a.on("log_bin") || a.on("log_bin_trust_function_creators") || a.global("SUPER") {
		return
	}
	for _, kind := range []string{"trigger", "function"} {
		switch {
		case !a.has(kind):
		case a.roles:
			a.fine("function-creators", kind, "the server writes a binary log and takes them from its administrators only; whether a role of account %s makes it one is not known", a.account)
		default:
			a.distrusted(kind, "")
		}
	}
}

// lacks says that the account does not have a right.
func (a *asker) lacks(r right, text string) {
	hint := fmt.Sprintf("GRANT %s ON %s.* TO the account, or give another account with --database-user and --database-password-file", r.name, mysql.QuoteName(a.name))
	if r.without != "" {
		a.find(r.kind, "wanted-right", r.name, hint, "account %s does not have it; %s", a.account, r.without)
		return
	}
	if text != "" {
		text = ": " + text
	}
	a.find(core.FindingImpossible, "missing-right", r.name, hint, "account %s does not have it in database %s, and the restore needs it%s", a.account, a.name, text)
}

func (a *asker) distrusted(what, text string) {
	if text != "" {
		text = " (" + text + ")"
	}
	a.find(core.FindingImpossible, "function-creators", what, "SET GLOBAL log_bin_trust_function_creators=1 on the server", "the server writes a binary log and takes triggers and functions from its administrators only%s", text)
}
