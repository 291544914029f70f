package preflight

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// The variables that are asked for; a server that lacks one does not list it.
var variables = []string{
	"read_only", "super_read_only", "innodb_read_only", "tx_read_only", "transaction_read_only", "innodb_force_recovery",
	"innodb_page_size", "innodb_read_only_compressed", "innodb_force_primary_key", "sql_require_primary_key", "disabled_storage_engines", "enforce_storage_engine",
	"event_scheduler", "log_bin", "log_bin_trust_function_creators", "max_binlog_cache_size", "max_connections",
	"wsrep_on", "group_replication_group_name", "datadir", "tmpdir", "innodb_tmpdir", "log_bin_basename", "hostname", "socket",
}

// And of its status.
var status = []string{"wsrep_ready", "wsrep_cluster_status", "wsrep_cluster_size", "Slaves_running", "Slaves_connected", "Threads_connected"}

// findServer compares the server with the one of origin. What follows for each
// object is package portable's to say.
func (a *asker) findServer(context.Context) error {
	origin, now := a.in.Database.Server, a.r.Server
	was, is := vendor(origin.Vendor)+" "+origin.Version, vendor(now.Vendor)+" "+now.Version
	series := func(v string) int { return mysql.VersionNumber(v) / 100 }
	switch {
	case origin.Vendor == "":
		a.fine("server-version", "", "the server is %s; the backup does not say of which one it is", is)
	case origin.Vendor != now.Vendor:
		a.find(core.FindingRewrite, "server-version", "", "", "the server is %s and the backup is of %s: definitions are carried by the rules of docs/cross-restore.md", is, was)
	case series(origin.Version) > series(now.Version):
		a.find(core.FindingRewrite, "server-version", "", "", "the server is %s, older than the %s that the backup is of: definitions are carried by the rules of docs/cross-restore.md", is, was)
	case series(origin.Version) < series(now.Version):
		a.fine("server-version", "", "the server is %s, newer than the %s that the backup is of", is, was)
	default:
		a.fine("server-version", "", "the server is %s, as the backup's", is)
	}
	if origin.Vendor != "" && (origin.LowerCaseTableNames == 0) == (now.LowerCaseTableNames == 0) {
		a.fine("name-case", "", "the case of table names counts as it did (lower_case_table_names=%d)", now.LowerCaseTableNames)
	}
	mode := now.SQLMode
	if mode == "" {
		mode = "none"
	}
	a.fine("server-mode", "", "rows and definitions are restored under modes of their own; the server's (sql_mode: %s) do not matter to them", mode)
	return nil
}

func vendor(v string) string {
	switch v {
	case mysql.MariaDB:
		return "MariaDB"
	case mysql.MySQL:
		return "MySQL"
	}
	return v
}

// findWritable looks whether the server takes writes at all.
func (a *asker) findWritable(ctx context.Context) error {
	const name = "read-only-server"
	passes := a.global("SUPER", "READ_ONLY ADMIN", "READ ONLY ADMIN", "CONNECTION_ADMIN")
	readOnly := a.vars["read_only"] != "" && !strings.EqualFold(a.vars["read_only"], "OFF") && a.vars["read_only"] != "0"
	before := len(a.r.Findings)
	switch {
	case a.on("innodb_read_only"):
		a.find(core.FindingImpossible, name, "innodb_read_only", "restart the server without innodb_read_only", "InnoDB is read-only on the server (innodb_read_only)")
	case a.on("super_read_only"):
		a.find(core.FindingImpossible, name, "super_read_only", "SET GLOBAL super_read_only=0, if this server is meant to be written to; is it a replica?", "the server takes writes from nobody (super_read_only)")
	case readOnly && strings.HasPrefix(strings.ToUpper(a.vars["read_only"]), "NO_LOCK_NO_ADMIN"):
		a.find(core.FindingImpossible, name, "read_only", "SET GLOBAL read_only=OFF, if this server is meant to be written to; is it a replica?", "the server takes writes from nobody (read_only=%s)", a.vars["read_only"])
	case readOnly && passes:
		a.find(core.FindingDecision, name, "read_only", "SET GLOBAL read_only=0, if this server is meant to be written to; is it a replica?", "the server is read-only, though not for account %s", a.account)
	case readOnly:
		a.find(core.FindingImpossible, name, "read_only", "SET GLOBAL read_only=0, if this server is meant to be written to; is it a replica?", "the server is read-only (read_only), also for account %s", a.account)
	}
	if a.on("tx_read_only") || a.on("transaction_read_only") {
		a.find(core.FindingImpossible, name, "transaction_read_only", "SET GLOBAL "+cmp.Or(a.transactionVariable(), "transaction_read_only")+"=0", "every session begins with read-only transactions")
	}
	if level := a.number("innodb_force_recovery"); level > 0 {
		kind := core.FindingImpossible
		if a.r.Server.MariaDB() && level < 4 { // which takes writes then, where MySQL takes none
			kind = core.FindingDecision
		}
		a.find(kind, "forced-recovery", "innodb_force_recovery", "repair the server first: take what it still gives, set it up anew without innodb_force_recovery, and restore there",
			"InnoDB runs in forced recovery (innodb_force_recovery=%d): its data is damaged, or was taken for damaged; what is restored there may be lost with it", level)
	}
	if len(a.r.Findings) == before {
		a.fine(name, "", "the server takes writes")
	}
	return a.findReplica(ctx)
}

func (a *asker) transactionVariable() string {
	for _, v := range []string{"transaction_read_only", "tx_read_only"} {
		if a.on(v) {
			return v
		}
	}
	return ""
}

// findReplica looks whether the server takes its data from another one, and
// whether others take theirs from it.
func (a *asker) findReplica(ctx context.Context) error {
	known, replica := a.r.Server.MariaDB(), a.number("slaves_running") > 0
	queries := []string{"SHOW REPLICA STATUS", "SELECT 1 FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME NOT LIKE 'group\\_replication%'"}
	if a.r.Server.MariaDB() {
		queries = []string{"SHOW ALL SLAVES STATUS"}
	}
	for _, query := range queries {
		rows, ok, err := a.try(ctx, query)
		if err != nil {
			return err
		}
		if ok {
			known, replica = true, replica || len(rows) > 0
			break
		}
	}
	switch {
	case replica:
		a.find(core.FindingDecision, "replica", "", "restore on its source instead; or end the replication here first",
			"the server is a replica: what is restored here is not on its source, whose next writes may fail here or be lost")
	case !known:
		a.fine("replica", "", "not known: account %s may not ask whether the server is a replica", a.account)
	}
	if a.on("log_bin") {
		a.fine("binary-log", "", "the server writes a binary log: the restore goes into it, and to replicas")
		limit, largest := a.number("max_binlog_cache_size"), a.largestChunk()
		if limit > 0 && largest > limit {
			a.find(core.FindingImpossible, "transaction-size", "max_binlog_cache_size", fmt.Sprintf("SET GLOBAL max_binlog_cache_size=%d on the server", 2*largest),
				"rows come in by transactions of up to %s, and the server's binary log takes %s", size(largest), size(limit))
		}
	}
	return nil
}

func (a *asker) largestChunk() int64 {
	var largest int64
	for _, t := range a.tables {
		for _, c := range t.Chunks {
			largest = max(largest, c.Bytes)
		}
	}
	return largest
}

// findCluster looks whether the server is a node of a cluster that is whole.
func (a *asker) findCluster(ctx context.Context) error {
	a.r.Findings = append(a.r.Findings, galera(a.vars)...)
	if a.vars["group_replication_group_name"] == "" {
		return nil
	}
	rows, ok, err := a.try(ctx, "SELECT MEMBER_STATE, MEMBER_ROLE, (SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE='ONLINE')"+
		" FROM performance_schema.replication_group_members WHERE MEMBER_ID=@@server_uuid")
	if err != nil {
		return err
	}
	state, role, online := "", "", ""
	if ok && len(rows) == 1 {
		state, role, online = rows[0][0].Text, rows[0][1].Text, rows[0][2].Text
	}
	a.r.Findings = append(a.r.Findings, groupMember(ok, state, role, online)...)
	return nil
}

const clusterHint = "stop the application on every node while the restore switches"

// galera says what the state of a Galera node means.
func galera(vars map[string]string) []core.Finding {
	if !strings.EqualFold(vars["wsrep_on"], "ON") {
		return nil
	}
	if !strings.EqualFold(vars["wsrep_ready"], "ON") || !strings.EqualFold(vars["wsrep_cluster_status"], "Primary") {
		return []core.Finding{{
			Kind: core.FindingImpossible, Name: "cluster-not-ready", Object: "wsrep_cluster_status",
			Message: fmt.Sprintf("the Galera node takes no writes (wsrep_ready=%s, wsrep_cluster_status=%s)", vars["wsrep_ready"], vars["wsrep_cluster_status"]),
			Hint:    "restore on a node that is synced, when the cluster has a primary component",
		}}
	}
	return []core.Finding{{
		Kind: core.FindingDecision, Name: "cluster",
		Message: fmt.Sprintf("the server is one of %s nodes of a Galera cluster: locks hold sessions of this node only, and tables that are not InnoDB's are not carried to the others", cmp.Or(vars["wsrep_cluster_size"], "several")),
		Hint:    clusterHint,
	}}
}

// groupMember says what the state of a member of a replication group means.
func groupMember(known bool, state, role, online string) []core.Finding {
	switch {
	case !known:
		return []core.Finding{{Kind: core.FindingDecision, Name: "cluster", Message: "the server is set up for Group Replication, and its state there is not known", Hint: "GRANT SELECT ON performance_schema.* TO the account; or restore on the primary member"}}
	case state == "" || state == "OFFLINE":
		return nil // set up, and not running
	case state != "ONLINE" || role != "" && role != "PRIMARY":
		return []core.Finding{{
			Kind: core.FindingImpossible, Name: "cluster-not-ready", Object: "MEMBER_STATE",
			Message: fmt.Sprintf("the member of the replication group takes no writes (%s %s)", state, strings.ToLower(role)), Hint: "restore on the primary member, when it is online",
		}}
	}
	return []core.Finding{{
		Kind: core.FindingDecision, Name: "cluster",
		Message: fmt.Sprintf("the server is one of %s members of a replication group: locks hold sessions of this member only, and every table needs a primary key", online),
		Hint:    clusterHint,
	}}
}

// findSettings looks at what else the server's administrator may have set that
// is in the way of tables or events.
func (a *asker) findSettings(context.Context) error {
	a.findEngines()
	if a.on("innodb_force_primary_key") || a.on("sql_require_primary_key") && !a.global("SUPER", "SYSTEM_VARIABLES_ADMIN", "SESSION_VARIABLES_ADMIN") {
		a.findKeyless()
	}
	if page := a.number("innodb_page_size"); page > 0 && page < usualPage {
		a.fine("page-size", "innodb_page_size", "InnoDB's pages have %d bytes here, not the usual %d: a table with longer keys or rows than fit is refused while it is built, before anything live is changed", page, usualPage)
	}
	if a.has("event") && !a.in.Copy && !a.on("event_scheduler") {
		a.find(core.FindingFine, "event-scheduler", "event_scheduler", "SET GLOBAL event_scheduler=ON, if the events ran at the origin", "the backup has events, and the server runs none (event_scheduler=%s)", a.vars["event_scheduler"])
	}
	wanted := int64(cmp.Or(a.in.Connections, loadConnections)) + otherConnections
	connections := a.number("max_user_connections")
	if connections == 0 {
		connections = a.number("max_connections") - a.number("threads_connected")
	}
	if connections < wanted {
		a.find(core.FindingDecision, "connections", "", "set database.connections: 1 in backstay.yaml, or raise max_connections or max_user_connections", "the server has fewer connections left for account %s than the %d that a restore may want", a.account, wanted)
	}
	return nil
}

const (
	usualPage = 16384
	// loadConnections is how many package load opens at most when nobody says.
	loadConnections = 8
	// otherConnections control those and hold locks meanwhile.
	otherConnections = 3
)

// findEngines looks for engines that the server has and does not let in. Those
// that it lacks are package portable's.
func (a *asker) findEngines() {
	disabled := map[string]bool{}
	for _, e := range strings.Split(strings.ToLower(a.vars["disabled_storage_engines"]), ",") {
		disabled[strings.TrimSpace(e)] = true
	}
	enforced := a.vars["enforce_storage_engine"]
	var refused, changed []string
	for _, t := range a.tables {
		engine := strings.ToLower(t.Engine)
		switch {
		case disabled[engine]:
			refused = append(refused, t.Name)
		case enforced != "" && !strings.EqualFold(enforced, engine) && a.target.Engines[engine]:
			changed = append(changed, t.Name)
		}
	}
	if len(refused) > 0 {
		a.find(core.FindingImpossible, "disabled-engine", core.Some(refused, shown), "take the engine out of disabled_storage_engines on the server, or restore the other tables with --table", "the server lets in no tables of this engine (disabled_storage_engines=%s)", a.vars["disabled_storage_engines"])
	}
	if len(changed) > 0 {
		a.find(core.FindingRewrite, "enforced-engine", core.Some(changed, shown), "SET GLOBAL enforce_storage_engine=NULL on the server keeps their own engines", "the server makes %s tables of them (enforce_storage_engine)", enforced)
	}
}

// shown is how many objects a finding names.
const shown = 5

// findKeyless looks for tables without the primary key that the server demands.
func (a *asker) findKeyless() {
	if len(a.texts) == 0 {
		return
	}
	var without []string
	for _, t := range a.tables {
		if text, ok := a.texts[t.Schema]; ok && !strings.Contains(masked(text).text, "PRIMARY KEY") {
			without = append(without, t.Name)
		}
	}
	if len(without) > 0 {
		a.find(core.FindingImpossible, "primary-key-required", core.Some(without, shown), "SET GLOBAL sql_require_primary_key=0 (MySQL) or innodb_force_primary_key=0 (MariaDB) on the server",
			"they have no primary key, and the server takes no tables without")
	}
}
