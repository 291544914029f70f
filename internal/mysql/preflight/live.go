package preflight

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/rights"
)

// listLive lists what the database has now.
func (a *asker) listLive(ctx context.Context) error {
	if a.barred != "" {
		a.find(core.FindingImpossible, "missing-right", a.name, "GRANT ALL ON "+mysql.QuoteName(a.name)+".* TO the account, or give another account with --database-user and --database-password-file",
			"account %s may not use the database: %s", a.account, a.barred)
		return nil
	}
	if !a.r.Exists {
		if len(a.in.Tables) > 0 {
			a.fine("database", a.name, "the database is not there and will be made, for these tables alone")
		} else {
			a.fine("database", a.name, "the database is not there and will be made")
		}
		return nil
	}
	schema := mysql.QuoteText(a.name)
	if err := a.limit(ctx, listLimit); err != nil {
		return err
	}
	names, err := a.c.Query(ctx, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA="+schema+" ORDER BY TABLE_NAME")
	if err != nil {
		return fmt.Errorf("list tables of database %s: %w", a.name, err)
	}
	if err := a.limit(ctx, queryLimit); err != nil {
		return err
	}
	sizes, sized, err := a.try(ctx, "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, COALESCE(DATA_LENGTH,0)+COALESCE(INDEX_LENGTH,0) FROM information_schema.TABLES WHERE TABLE_SCHEMA="+schema)
	if err != nil {
		return err
	}
	if !sized {
		a.fine("live-size", a.name, "how large its tables are is not known: the server takes too long to say")
	}
	size := map[string]mysql.Row{}
	for _, r := range sizes {
		size[r[0].Text] = r
	}
	inBackup := map[string]bool{}
	backupName := map[string]string{}
	for _, t := range a.tables {
		inBackup["table "+a.key(t.Name)] = true
		backupName[a.key(t.Name)] = t.Name
	}
	for _, o := range a.objects {
		inBackup[o.Kind+" "+o.Name] = true
		if o.Kind == "view" || o.Kind == "sequence" {
			inBackup[o.Kind+" "+a.key(o.Name)] = true
		}
	}
	// What is the app's begins with its prefix; a trigger belongs to its table.
	extra := func(kind, name, owner string) {
		if !strings.HasPrefix(a.key(owner), a.key(a.in.Database.Prefix)) || ours(name) || len(a.in.Tables) > 0 {
			return
		}
		named := kind == "table" || kind == "view" || kind == "sequence"
		kinds := []string{kind}
		if named { // what has the name of another kind is replaced by it
			kinds = []string{"table", "view", "sequence"}
		}
		if !slices.ContainsFunc(kinds, func(k string) bool { return inBackup[k+" "+name] || inBackup[k+" "+a.key(name)] }) {
			a.r.Extra = append(a.r.Extra, Object{kind, name})
		}
	}
	for _, r := range names {
		name := r[0].Text
		switch r[1].Text {
		case "VIEW", "SYSTEM VIEW":
			a.views = a.views || inBackup["view "+a.key(name)] || a.in.Clean && !ours(name)
			extra("view", name, name)
			continue
		case "SEQUENCE":
			extra("sequence", name, name)
			continue
		}
		extra("table", name, name)
		if ours(name) {
			continue
		}
		t := LiveTable{Name: name, BackupName: backupName[a.key(name)]}
		t.InBackup = t.BackupName != ""
		if s, ok := size[name]; ok {
			t.Engine, t.Rows, t.Bytes = s[1].Text, parse(s[2].Text), parse(s[3].Text)
			t.Exact = countsRows(t.Engine) && !s[2].Null
		}
		a.r.Live = append(a.r.Live, t)
	}
	a.fine("database", a.name, "the database is there, with %d tables", len(a.r.Live))
	if err := a.listCode(ctx, extra); err != nil {
		return err
	}
	slices.SortFunc(a.r.Extra, func(x, y Object) int { return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name)) })
	return nil
}

// ours says whether something is backstay's own: a probe, or what a restore
// keeps beside live tables.
func ours(name string) bool { return strings.HasPrefix(name, ProbePrefix) || mysql.Reserved(name) }

// countsRows says whether the number of rows that the catalogue gives for an
// engine is no estimate.
func countsRows(engine string) bool {
	switch strings.ToLower(engine) {
	case "myisam", "aria", "memory", "archive":
		return true
	}
	return false
}

func parse(number string) int64 {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0 // NULL
	}
	return n
}

// listCode lists routines, events and triggers. A trigger that is not in the
// backup goes with its table when that is replaced.
func (a *asker) listCode(ctx context.Context, extra func(kind, name, owner string)) error {
	schema := mysql.QuoteText(a.name)
	for _, query := range []string{
		"SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=" + schema,
		"SELECT 'event', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + schema,
		"SELECT 'trigger', TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=" + schema,
	} {
		rows, ok, err := a.try(ctx, query)
		if err != nil {
			return err
		}
		if !ok {
			a.fine("live-size", a.name, "what it has besides tables is not wholly known: the server takes too long to say")
		}
		for _, r := range rows {
			kind, name := strings.ToLower(r[0].Text), r[1].Text
			if kind != "trigger" {
				extra(kind, name, name)
				continue
			}
			extra(kind, name, r[2].Text)
			gone := slices.ContainsFunc(a.tables, func(t core.Table) bool { return a.key(t.Name) == a.key(r[2].Text) })
			kept := slices.ContainsFunc(a.objects, func(o core.SchemaObject) bool { return o.Kind == "trigger" && strings.EqualFold(o.Name, name) })
			a.triggers = a.triggers || gone
			if gone && !kept && !ours(name) {
				a.orphans = append(a.orphans, Object{kind, name})
				a.fine("extra-trigger", "trigger "+name, "the backup does not have it; it goes with the table %s that is replaced", r[2].Text)
			}
		}
	}
	return nil
}

// findUnreadable looks for routines that are replaced and that the account may
// not read: they could not be brought back, so that a switch refuses.
func (a *asker) findUnreadable(ctx context.Context) error {
	if !a.r.Exists || a.in.Copy || len(a.in.Tables) > 0 {
		return nil
	}
	rows, _, err := a.try(ctx, "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_DEFINITION IS NULL AND ROUTINE_SCHEMA="+mysql.QuoteText(a.name)+" ORDER BY ROUTINE_NAME, ROUTINE_TYPE")
	if err != nil {
		return err
	}
	var unreadable []string
	for _, r := range rows {
		kind, name := strings.ToLower(r[0].Text), r[1].Text
		replaced := slices.ContainsFunc(a.objects, func(o core.SchemaObject) bool { return o.Kind == kind && strings.EqualFold(o.Name, name) })
		if (replaced || a.in.Clean) && !ours(name) {
			unreadable = append(unreadable, kind+" "+name)
		}
	}
	if len(unreadable) == 0 {
		return nil
	}
	right := "SHOW_ROUTINE ON *.*"
	if a.r.Server.MariaDB() {
		if right = "SELECT ON mysql.proc"; a.r.Server.VersionNumber >= 110301 {
			right = "SHOW CREATE ROUTINE ON " + mysql.QuoteName(a.name) + ".*"
		}
	}
	a.find(core.FindingImpossible, "unreadable-object", core.Some(unreadable, shown), "GRANT "+right+" TO the account, or give another account with --database-user and --database-password-file",
		"they are in the database now, account %s may not read them, and what is replaced could not be brought back", a.account)
	return nil
}

// findDefiners looks whether the objects can keep the accounts that they run as.
func (a *asker) findDefiners(ctx context.Context) error {
	missing, given, unknown, foreign := map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}
	orphans := a.r.Server.MariaDB() || a.r.Server.VersionNumber < 80200 || a.global("ALLOW_NONEXISTENT_DEFINER") || a.grants == nil
	for _, o := range a.objects {
		o = a.in.Plan.Object(o)
		if o.Definer == "" || o.Definer == a.account {
			continue
		}
		label := o.Kind + " " + o.Name
		who := o.Definer
		if i := strings.LastIndexByte(who, '@'); i >= 0 {
			who = who[:i] + strings.ToLower(who[i:])
		}
		there := a.target.Accounts[who]
		switch {
		case !a.target.AnyDefiner, !there && a.target.Accounts != nil && !orphans:
			given[o.Definer] = append(given[o.Definer], label)
		case o.Kind == "view" && invoker(a.texts[o.File]):
		case a.in.Imported && !a.mayAnything() && (there || a.target.Accounts == nil):
			foreign[o.Definer] = append(foreign[o.Definer], label)
		case there:
		case a.target.Accounts == nil:
			unknown[o.Definer] = append(unknown[o.Definer], label)
		default:
			missing[o.Definer] = append(missing[o.Definer], label)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(given)) {
		a.find(core.FindingRewrite, "definer", core.Some(given[who], shown), "give an account that may: SET USER (MariaDB), SET_ANY_DEFINER (MySQL)", "account %s may not make objects that run as %s; they will run as %[1]s", a.account, who)
	}
	for _, who := range slices.Sorted(maps.Keys(unknown)) {
		a.fine("missing-definer", core.Some(unknown[who], shown), "they run as %s; whether the server has that account is not known", who)
	}
	if len(missing) == 0 && len(foreign) == 0 {
		return nil
	}
	now, err := a.liveDefiners(ctx)
	if err != nil {
		return err
	}
	split := func(labels []string, who string) (same, other []string) {
		for _, label := range labels {
			if now[label] == who {
				same = append(same, label)
			} else {
				other = append(other, label)
			}
		}
		return same, other
	}
	for _, who := range slices.Sorted(maps.Keys(foreign)) {
		if _, other := split(foreign[who], who); len(other) > 0 {
			a.find(core.FindingDecision, "foreign-definer", core.Some(other, shown), "look at their text (backstay cat), or restore without them: --table T; agree if you trust where the archive came from", "the archive says that they run as %s, who may be allowed more than account %s", who, a.account)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(missing)) {
		same, other := split(missing[who], who)
		if len(same) > 0 {
			a.fine("missing-definer", core.Some(same, shown), "they run as %s, which the server does not have: they do not work now, and will not afterwards", who)
		}
		if len(other) > 0 {
			a.find(core.FindingDecision, "missing-definer", core.Some(other, shown), "make the account before or after the restore: CREATE USER, and GRANT what it needs", "they run as %s, which the server does not have: they are restored and do not work until it does", who)
		}
	}
	return nil
}

// mayAnything says whether no other account may do what this one may not.
func (a *asker) mayAnything() bool {
	return a.grants != nil && a.global("SUPER") && a.global("CREATE USER") && a.global("FILE") && a.global("INSERT")
}

// invoker says whether a view runs with the rights of who asks, so that it
// needs no definer.
func invoker(statement string) bool {
	head, _, _ := strings.Cut(masked(statement).text, " VIEW ")
	return strings.Contains(head, "SQL SECURITY INVOKER")
}

// liveDefiners lists as whom the objects run that are there now.
func (a *asker) liveDefiners(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	if !a.r.Exists {
		return found, nil
	}
	schema := mysql.QuoteText(a.name)
	for _, query := range []string{
		"SELECT 'view', TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA=" + schema,
		"SELECT ROUTINE_TYPE, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=" + schema,
		"SELECT 'event', EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + schema,
		"SELECT 'trigger', TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=" + schema,
	} {
		rows, _, err := a.try(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[strings.ToLower(r[0].Text)+" "+r[1].Text] = r[2].Text
		}
	}
	return found, nil
}

// plainDiskName matches what DiskName makes of what is not a letter.
var plainDiskName = regexp.MustCompile("@[0-9a-f]{4}")

// decoded returns the database of what InnoDB calls a table.
func decoded(table string) string {
	schema, _, _ := strings.Cut(table, "/")
	return plainDiskName.ReplaceAllStringFunc(schema, func(code string) string {
		n, err := strconv.ParseUint(code[1:], 16, 16)
		if err != nil {
			return code
		}
		return string(rune(n))
	})
}

// findOutside looks for foreign keys of other databases to tables that are
// replaced: they would follow those that are put away.
func (a *asker) findOutside(ctx context.Context) error {
	if !a.r.Exists || a.in.Copy {
		return nil
	}
	mine := mysql.DiskName(a.name) + "/"
	view := "INNODB_FOREIGN"
	if a.r.Server.MariaDB() {
		view = "INNODB_SYS_FOREIGN"
	}
	queries := []string{fmt.Sprintf("SELECT FOR_NAME, REF_NAME FROM information_schema.%s WHERE LEFT(REF_NAME,%d)=%s AND LEFT(FOR_NAME,%[2]d)<>%[3]s", view, len(mine), mysql.QuoteText(mine))}
	if !a.r.Server.MariaDB() { // where it would open the tables of all databases
		queries = append(queries, "SELECT CONCAT(CONSTRAINT_SCHEMA,'/',TABLE_NAME), CONCAT(UNIQUE_CONSTRAINT_SCHEMA,'/',REFERENCED_TABLE_NAME) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA="+
			mysql.QuoteText(a.name)+" AND CONSTRAINT_SCHEMA<>UNIQUE_CONSTRAINT_SCHEMA")
	}
	for _, query := range queries {
		rows, ok, err := a.try(ctx, query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			from, to := strings.ReplaceAll(r[0].Text, "/", "."), r[1].Text[strings.IndexByte(r[1].Text, '/')+1:]
			i := slices.IndexFunc(a.tables, func(t core.Table) bool { return strings.EqualFold(mysql.DiskName(t.Name), to) || t.Name == to })
			switch {
			case i >= 0:
				to = a.tables[i].Name
			case !strings.Contains(plainDiskName.ReplaceAllString(to, ""), "@"): // letters beyond ASCII may be any table's
				continue
			}
			if schema := decoded(r[0].Text); rights.On(schema, a.grants)("ALTER") {
				a.fine("referenced-from-elsewhere", "table "+to, "a foreign key of table %s, in another database, leads to it, and is led to the restored one", from)
				continue
			}
			a.find(core.FindingDecision, "referenced-from-elsewhere", "table "+to, "GRANT ALTER on that table to the account; or drop the foreign key there and make it again after the restore",
				"a foreign key of table %s, in another database, leads to it, and would follow the table that is put away, because account %s may not alter that one", from, a.account)
		}
		if ok {
			return nil
		}
	}
	a.fine("referenced-from-elsewhere", a.name, "whether foreign keys of other databases lead to its tables is not known, because account %s may not ask (PROCESS): one would follow the table that is put away, and `backstay undo --drop` would refuse to drop that", a.account)
	return nil
}
