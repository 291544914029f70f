package portable

// Rule is one of the rules by which definitions are carried from one server
// to another.
type Rule struct {
	Name string
	To   string // "MariaDB", "MySQL" or "any": what the target is
	What string // what is done, in a sentence
}

// The names of the rules, as plans give them.
const (
	ruleCharset    = "character set"
	ruleCollation  = "collation"
	ruleEngine     = "engine"
	ruleOption     = "table option"
	rulePartition  = "partition"
	ruleType       = "type"
	ruleColumn     = "column option"
	ruleDefault    = "default"
	ruleGenerated  = "generated column"
	ruleInvisible  = "invisible column"
	ruleCheck      = "check"
	ruleIndex      = "index"
	ruleHistory    = "system versioning"
	rulePeriod     = "period"
	ruleSequence   = "sequence"
	rulePackage    = "package"
	ruleFunction   = "function"
	ruleSyntax     = "syntax"
	ruleDefiner    = "definer"
	ruleMode       = "sql_mode"
	ruleSession    = "session character set"
	ruleEvent      = "event"
	ruleZone       = "time zone"
	ruleDeclared   = "undeclared function"
	ruleCase       = "name"
	ruleSize       = "row size"
	ruleSandbox    = "sandbox line"
	ruleAuto       = "auto_increment"
	ruleForeignKey = "foreign key"
)

// Rules lists all rules, in the order of docs/cross-restore.md.
func Rules() []Rule {
	return []Rule{
		{ruleCharset, "any", "utf8 is written utf8mb3; a character set that the target lacks (gb18030 on MariaDB) is refused."},
		{ruleCollation, "any", "A collation that the target lacks gives way to the nearest that it has: 0900 to uca1400_nopad or, before MariaDB 10.10, unicode_520_nopad; uca1400_nopad to 0900; uca1400, which lets trailing spaces not count, to one that does so too: unicode_520, that of the language, or bin where case counts. Refused where none is near, or where a unique key stands on the column and the nearest could take values for equal that were different."},
		{ruleEngine, "any", "Aria and MyISAM, and other engines that hold rows of their own, become InnoDB where the target lacks them, and MyISAM where it is partitioned and the target is MySQL. Engines that show the rows of others are refused."},
		{ruleOption, "any", "Options of storage that the target does not know (PAGE_COMPRESSED, TRANSACTIONAL, PAGE_CHECKSUM, ENCRYPTED, COMPRESSION, TABLESPACE, ENGINE_ATTRIBUTE, DATA DIRECTORY, ...) are left out."},
		{rulePartition, "MySQL", "Partitions by system time and DEFAULT partitions are refused."},
		{ruleType, "any", "JSON becomes longtext with CHECK (json_valid()) on MariaDB; UUID, INET4 and INET6 become text columns on MySQL and on older MariaDB; geomcollection becomes geometrycollection on MariaDB, and VECTOR of MySQL varbinary. Refused are VECTOR on a MySQL that lacks it, and DECIMAL with more than 30 digits after the point on MySQL."},
		{ruleColumn, "any", "COMPRESSED, COLUMN_FORMAT, STORAGE, ENGINE_ATTRIBUTE and SRID of a column are left out where the target does not know them; the values stay as they are."},
		{ruleDefault, "MySQL", "Defaults that are expressions, and any default of a TEXT or BLOB column, are put in parentheses."},
		{ruleGenerated, "any", "PERSISTENT becomes STORED; NOT NULL is left out on MariaDB, which has none for generated columns. A generated column in the primary key is refused on MariaDB."},
		{ruleInvisible, "any", "Refused where the target lacks invisible columns, and on MariaDB for a NOT NULL column without a default, which it does not allow."},
		{ruleCheck, "any", "Names of constraints that MySQL would find twice in the database are left to the server; a column's CHECK that names other columns becomes the table's; a CHECK that is NOT ENFORCED is left out on MariaDB."},
		{ruleIndex, "any", "INVISIBLE and IGNORED are each other; VECTOR keys, and keys on expressions that are not unique, are left out where the target lacks them, as is a full-text parser. Unique keys on expressions, and unique keys on whole TEXT or BLOB columns, are refused."},
		{ruleAuto, "any", "A second-column AUTO_INCREMENT of MyISAM or Aria is refused on InnoDB, one on FLOAT or DOUBLE on MySQL 8.4 and later."},
		{ruleForeignKey, "MySQL", "Names of foreign keys that stand at more than one table of the database are left to the server; a foreign key from columns to the same columns is left out."},
		{ruleHistory, "MySQL", "System-versioned tables are refused."},
		{rulePeriod, "MySQL", "Tables with an application-time period are refused."},
		{ruleSequence, "any", "Sequences, and what takes values from them, are refused on MySQL. Before MariaDB 11.5 the type of a sequence is left out, or refused where it is BIGINT UNSIGNED."},
		{rulePackage, "MySQL", "Packages, aggregate functions and what was made in sql_mode ORACLE are refused."},
		{ruleFunction, "any", "Built-in functions that the target lacks are refused with their name, but for those that have an equal one there, which takes their place. It is noted where REGEXP_REPLACE, REGEXP_SUBSTR or JSON_EXTRACT is called, which both have and each in its own way."},
		{ruleSyntax, "any", "Operators and clauses that only one vendor knows (->, ->>, MEMBER OF, CAST AS JSON, defaults of parameters, ...) are refused. Strings in expressions that name their character set and hold quotes or backslashes do not name it on MariaDB, which would lose those."},
		{ruleDefiner, "any", "From another vendor's server: a definer that the target does not have, or that the account may not set, gives way to the restoring account."},
		{ruleMode, "any", "Modes that the target does not know are left out; TIME_ROUND_FRACTIONAL and TIME_TRUNCATE_FRACTIONAL are translated, because MySQL rounds where MariaDB cuts. Modes that change the language (EMPTY_STRING_IS_NULL, SIMULTANEOUS_ASSIGNMENT) are refused."},
		{ruleSession, "any", "The connection's collation that an object was made under follows the rule of collations, as does the database's default."},
		{ruleEvent, "any", "DISABLE ON SLAVE and DISABLE ON REPLICA are each other."},
		{ruleZone, "any", "An event whose time zone the target does not know is refused."},
		{ruleDeclared, "any", "A function that does not declare that it changes no data is refused where the server's binary log demands it."},
		{ruleCase, "any", "Where the target folds names to lower case: names that differ in case only are refused, others are noted. Where only the origin folds them, it is noted that the text of routines must spell names as they are. On MariaDB, names that begin with #mysql50# are refused."},
		{ruleSize, "any", "A row that the target cannot take is refused: one that needs a longer INSERT than max_allowed_packet where LOAD DATA LOCAL is forbidden, or a JSON document longer than max_allowed_packet on MySQL. LOAD DATA LOCAL itself takes rows of any size."},
		{ruleSandbox, "MySQL", "MariaDB's sandbox line in front of a statement is left out."},
	}
}
