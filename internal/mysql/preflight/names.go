package preflight

import "github.com/backstay/backstay/internal/core"

// Meaning is a name that findings have, and what they mean.
type Meaning struct {
	Name  string
	Kinds []core.FindingKind // those that it comes as
	What  string             // in a sentence or two
}

const (
	fine       = core.FindingFine
	rewrite    = core.FindingRewrite
	decision   = core.FindingDecision
	impossible = core.FindingImpossible
)

// Meanings lists all names of findings, in the order in which they are asked.
func Meanings() []Meaning {
	kinds := func(k ...core.FindingKind) []core.FindingKind { return k }
	return []Meaning{
		{"database", kinds(fine), "Whether the database is there, with how many tables, or will be made."},
		{"live-size", kinds(fine), "The server takes too long to say how large its tables are, or what else is in the database."},
		{"extra-trigger", kinds(fine), "A trigger that the backup does not have stands at a table that is replaced, and goes with it."},
		{"extra-objects", kinds(fine), "What the app has in the database and the backup does not: it stays, or is taken away with --clean."},
		{"incomplete-backup", kinds(decision), "Something would be taken away that the backup may lack only because the account that made it could not read it."},
		{"server-version", kinds(fine, rewrite), "Vendor and version of the server, and of the one that the backup is of. Rewrite: it is another vendor's, or older, and definitions are carried by the rules of cross-restore.md."},
		{"name-case", kinds(fine), "The case of table names counts as at the origin. Where it does not, the rule \"name\" of cross-restore.md says what follows."},
		{"server-mode", kinds(fine), "The server's sql_mode; a restore sets its own."},
		{"read-only-server", kinds(fine, decision, impossible), "The server takes no writes (read_only, super_read_only, innodb_read_only, transaction_read_only). Decision: this account may write all the same; but it is likely to be a replica."},
		{"forced-recovery", kinds(decision, impossible), "InnoDB runs with innodb_force_recovery. Impossible where it takes no writes: on MySQL, and on MariaDB from level 4 on."},
		{"replica", kinds(fine, decision), "The server takes its data from another one, which would not get what is restored. Fine: the account may not ask."},
		{"binary-log", kinds(fine), "The restore goes into the server's binary log, and to its replicas."},
		{"transaction-size", kinds(impossible), "A transaction of the restore does not fit into max_binlog_cache_size."},
		{"cluster", kinds(decision), "The server is a node of a Galera cluster or a replication group: locks hold sessions of this node only."},
		{"cluster-not-ready", kinds(impossible), "It is, and takes no writes now."},
		{"disabled-engine", kinds(impossible), "Tables are of an engine that disabled_storage_engines keeps out. For engines that the server lacks see the rule \"engine\" of cross-restore.md."},
		{"enforced-engine", kinds(rewrite), "The server makes tables of another engine of them (enforce_storage_engine)."},
		{"primary-key-required", kinds(impossible), "Tables have no primary key, and the server demands one (sql_require_primary_key, innodb_force_primary_key)."},
		{"page-size", kinds(fine), "InnoDB's pages are smaller than usual: a table whose keys or rows do not fit is refused while it is built, before anything live is changed."},
		{"event-scheduler", kinds(fine), "The backup has events, and the server runs none (event_scheduler)."},
		{"connections", kinds(decision), "The server has fewer connections left for the account than a restore may want."},
		{"packet-size", kinds(fine, impossible), "A definition does not fit into max_allowed_packet. For rows see the rule \"row size\" of cross-restore.md."},
		{"data-directory", kinds(fine, decision, impossible), "Tables lie in folders of their own. Decision: such a folder is not there. Impossible: MySQL wants the right FILE for it."},
		{"compressed-tables", kinds(impossible), "Tables are compressed by InnoDB, and the server does not write such tables (innodb_read_only_compressed)."},
		{"fulltext-parser", kinds(impossible), "Full-text keys need a parser that the server does not have."},
		{"encryption", kinds(fine, impossible), "Tables are encrypted, and the server has no keys."},
		{"tablespace", kinds(fine, impossible), "Tables lie in a general tablespace of MySQL that the server does not have."},
		{"history", kinds(fine, decision), "Decision: former versions of rows of system-versioned tables cannot be written on this server; the present rows are restored."},
		{"definer", kinds(rewrite), "The account may not make views, triggers, routines or events that run as another one; they will run as it."},
		{"definer-lost", kinds(decision), "Live triggers, routines or events that the switch replaces run as another account, and this one cannot make them so again: neither undo nor a switch that is taken back could."},
		{"missing-definer", kinds(fine, decision), "Decision: they run as an account that the server does not have, and do not work until it does. Fine: those that are there now do so too, or the account may not see which accounts there are."},
		{"foreign-definer", kinds(decision), "The backup was imported, and objects in it run as another account that the server has, as none that is there now does: whoever wrote the archive would have them run with its rights."},
		{"unreadable-object", kinds(impossible), "Routines are to be replaced whose text the account may not read, so that they could not be brought back."},
		{"referenced-from-elsewhere", kinds(fine, decision), "A foreign key in another database leads to a table that is replaced. Decision: the account may not alter that one, so that it would follow the old table."},
		{"sessions", kinds(fine), "How many other sessions are in the database now."},
		{"held-tables", kinds(fine), "A session holds tables, or a transaction open, for five seconds or longer: the switch waits for it."},
		{"disk-space", kinds(fine, decision), "What the database takes beside the one that is there, by estimate, and what is free where the server keeps its data and its binary log. Fine: there is enough, or the server is on another machine."},
		{"temporary-space", kinds(decision), "The keys of the largest table may not fit into the folder in which the server sorts them."},
		{"rights", kinds(fine), "The account may do all that a restore needs, as was tried; in a dry run, by its grants."},
		{"missing-right", kinds(impossible), "The account lacks a right without which nothing can be restored."},
		{"wanted-right", kinds(fine, decision), "Decision: the account lacks SHOW VIEW, so that the restore cannot be undone and views are not in backups. Fine: it lacks LOCK TABLES, so that a switch that waits cannot say for which table."},
		{"function-creators", kinds(fine, impossible), "The server writes a binary log and takes triggers and functions from its administrators only (log_bin_trust_function_creators). Fine: a role of the account may make it one."},
		{"server-locked", kinds(impossible), "Somebody holds a lock on the whole server, so that nothing could be tried; another backup, perhaps."},
		{"server-refuses", kinds(impossible), "The server refused what was tried for another reason, which the message gives."},
		{"definition-refused", kinds(impossible), "The server does not take a definition that was rewritten for it."},
	}
}
