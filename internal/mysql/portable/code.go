package portable

import (
	"fmt"
	"slices"
	"strings"
)

// lacking says what to do about a built-in function that a vendor lacks.
type lacking struct {
	since int    // the target's version that has it; 0: none
	equal string // what the target calls it; "" where there is nothing of the kind
}

// What MariaDB lacks of MySQL's functions.
// https://mariadb.com/kb/en/function-differences-between-mariadb-and-mysql/
var notInMariaDB = lists(map[string]lacking{
	"json_schema_valid": {since: 110100}, "format_pico_time": {since: 110002}, "format_bytes": {since: 110800}, "random_bytes": {since: 101000},
	"st_simplify": {since: 120000}, "st_isvalid": {since: 120000}, "st_validate": {since: 120000}, "st_geohash": {since: 120000}, "st_collect": {since: 120000},
	"json_pretty": {since: 101003, equal: "json_detailed"}, "string_to_vector": {since: 0, equal: "vec_fromtext"}, "to_vector": {equal: "vec_fromtext"},
	"vector_to_string": {equal: "vec_totext"}, "from_vector": {equal: "vec_totext"},
}, "uuid_to_bin bin_to_uuid is_uuid any_value grouping json_storage_size json_storage_free json_schema_validation_report statement_digest statement_digest_text "+
	"st_latitude st_longitude st_transform st_swapxy st_latfromgeohash st_longfromgeohash st_pointfromgeohash st_lineinterpolatepoint st_lineinterpolatepoints "+
	"st_pointatdistance st_frechetdistance st_hausdorffdistance st_makeenvelope vector_dim distance vector_distance gtid_subset gtid_subtract "+
	"wait_for_executed_gtid_set ps_current_thread_id ps_thread_id icu_version roles_graphml st_buffer_strategy etag json_duality_object")

// What MySQL lacks of MariaDB's functions.
var notInMySQL = lists(map[string]lacking{
	"nvl": {equal: "ifnull"}, "json_detailed": {equal: "json_pretty"}, "vec_fromtext": {equal: "string_to_vector"}, "vec_totext": {equal: "vector_to_string"},
}, "nvl2 nextval lastval setval json_compact json_loose json_exists json_query json_normalize json_equals json_object_to_array json_object_filter_keys "+
	"json_array_intersect json_key_value json_unescape vec_distance vec_distance_euclidean vec_distance_cosine column_create column_get column_add column_delete column_list "+
	"column_json column_check column_exists password old_password encrypt encode decode des_encrypt des_decrypt natural_sort_key median percentile_cont percentile_disc "+
	"sformat kdf crc32c chr to_char to_date to_number trunc add_months months_between lengthb sys_guid uuid_v4 uuid_v7 decode_oracle rownum "+
	"trim_oracle ltrim_oracle rtrim_oracle lpad_oracle rpad_oracle substr_oracle replace_oracle regexp_replace_oracle concat_operator_oracle "+
	"binlog_gtid_pos master_gtid_wait st_relate st_boundary st_pointonsurface st_isring inet6_is_v4_compat wsrep_last_seen_gtid wsrep_last_written_gtid wsrep_sync_wait_upto_gtid")

// What both have, and each in its own way.
var differing = map[string]string{
	"regexp_replace": "whose back references are \\1 on MariaDB and $1 on MySQL",
	"regexp_substr":  "which gives an empty text on MariaDB and NULL on MySQL where nothing matches",
	"json_extract":   "whose result is compared as text on MariaDB and as JSON on MySQL",
}

func lists(known map[string]lacking, names string) map[string]lacking {
	for _, n := range strings.Fields(names) {
		known[n] = lacking{}
	}
	return known
}

// code looks through the words from … to-1 of an expression or a body for what
// the target does not know.
func (b *builder) code(s *statement, object string, from, to int) {
	if !b.crosses() {
		return
	}
	vendor := "MySQL"
	if b.toMariaDB {
		vendor = "MariaDB"
	}
	syntax := func(what string) {
		b.refuse(object, ruleSyntax, fmt.Sprintf("it uses %s, which %s does not know", what, vendor), "write it in another way at the origin")
	}
	for i := from; i < to; i++ {
		t := s.at(i)
		if t.kind == word && s.is(i+1, "(") && !s.is(i-1, ".") && !s.isAny(i-1, "FUNCTION", "PROCEDURE", "CALL", "TABLE", "INTO") {
			b.call(s, object, i, vendor)
		}
		if b.toMariaDB && t.kind == word && strings.HasPrefix(t.text, "_") && s.at(i+1).kind == text {
			b.introduced(s, object, i)
		}
		switch {
		case b.toMariaDB && s.isAny(i, "->", "->>"):
			syntax("the operator " + t.text)
		case b.toMariaDB && s.is(i, "MEMBER", "OF", "("):
			syntax("MEMBER OF")
		case b.toMariaDB && s.is(i, "AS", "JSON", ")"):
			syntax("CAST AS JSON")
		case b.toMariaDB && s.is(i, "ARRAY", ")"):
			syntax("CAST AS an ARRAY")
		case b.toMariaDB && s.is(i, "RETURNING") && s.at(i-1).kind == text:
			syntax("JSON_VALUE with RETURNING")
		case b.toMariaDB && s.is(i, "LATERAL", "(") && b.toVersion < 120000:
			syntax("LATERAL")
		case b.toMariaDB && s.is(i, "VALUES", "ROW", "("):
			syntax("VALUES ROW()")
		case b.toMySQL() && s.isAny(i, "NEXT", "PREVIOUS") && s.is(i+1, "VALUE", "FOR"):
			b.refuse(object, ruleSequence, "it takes values from a sequence, which MySQL does not know", "")
		case b.toMySQL() && (s.is(i, "FOR", "SYSTEM_TIME") || s.is(i, "SYSTEM_TIME", "AS", "OF")):
			b.refuse(object, ruleHistory, "it asks for former rows (FOR SYSTEM_TIME), which MySQL does not know", "")
		case b.toMySQL() && s.is(i, "RETURNING") && !s.is(i+1, "("):
			syntax("RETURNING")
		case b.toMySQL() && s.isAny(i, "DELETE", "INSERT") && s.is(i+1, "HISTORY"):
			syntax("DELETE HISTORY")
		case b.toMySQL() && s.is(i, "EXECUTE", "IMMEDIATE"):
			syntax("EXECUTE IMMEDIATE")
		case b.toMySQL() && s.is(i, "TYPE", "OF"):
			syntax("TYPE OF")
		case s.is(i, "COLLATE") && s.at(i+1).kind != mark && s.at(i+1).kind != number:
			b.collationAt(s, object, i+1)
			i++
		}
	}
}

// introduced looks at a string with its character set in front. MariaDB (seen
// on 10.11 and 11.8) keeps the text of expressions and does not escape quotes
// and backslashes in such a string when it writes it down, so that it cannot
// read the table or view again.
func (b *builder) introduced(s *statement, object string, i int) {
	literal := s.at(i + 1).text
	if b.body || len(literal) < 2 || literal[0] != '\'' && literal[0] != '"' || !strings.ContainsAny(literal[1:len(literal)-1], `'"\`) {
		return
	}
	charset := b.charsetName(s.at(i).text[1:])
	value := b.from.unquote(literal)
	b.rewrite(object, ruleSyntax, "quotes in strings that name their character set", "strings that do not name it", "MariaDB loses quotes and backslashes of such strings in expressions")
	if ascii := strings.IndexFunc(value, func(r rune) bool { return r >= 0x80 }) < 0; ascii && (charset == "utf8mb4" || charset == "utf8mb3") {
		s.replace(i, i+1, "")
		return
	}
	s.replace(i, i+2, fmt.Sprintf("convert(x'%x' using %s)", value, charset))
}

// call looks at the call of a function at word i.
func (b *builder) call(s *statement, object string, i int, vendor string) {
	called := strings.ToLower(s.at(i).text)
	if b.functions[called] {
		return // the backup's own
	}
	if what, ok := differing[called]; ok {
		n := Notice{object, ruleFunction, fmt.Sprintf("uses %s, %s", strings.ToUpper(called), what)}
		if !slices.Contains(b.plan.Notices, n) {
			b.plan.Notices = append(b.plan.Notices, n)
		}
	}
	known := notInMySQL
	if b.toMariaDB {
		known = notInMariaDB
	}
	if b.toMariaDB && called == "regexp_like" {
		// How MySQL prints `a REGEXP b` in views.
		end := s.close(i + 1)
		if args := s.split(i+2, end); len(args) == 2 {
			b.rewrite(object, ruleFunction, "REGEXP_LIKE(a, b)", "(a REGEXP b)", "MariaDB does not have the function; the operator is the same")
			s.replace(i, i+1, "")
			s.replace(args[0].to, args[0].to+1, " regexp ")
			return
		}
		b.refuse(object, ruleFunction, "it calls REGEXP_LIKE with three values, which MariaDB does not have", "")
		return
	}
	f, lacks := known[called]
	if !lacks || f.since > 0 && b.toVersion >= f.since {
		return
	}
	if f.equal != "" && (!strings.HasPrefix(f.equal, "vec_") || b.toVersion >= 110701) && (f.equal != "string_to_vector" && f.equal != "vector_to_string" || b.toVersion >= 90000) {
		b.rewrite(object, ruleFunction, called, f.equal, "the target calls it so")
		s.replace(i, i+1, f.equal)
		return
	}
	hint := "write it in another way at the origin"
	rule := ruleFunction
	if called == "nextval" || called == "lastval" || called == "setval" {
		rule, hint = ruleSequence, ""
	}
	b.refuse(object, rule, fmt.Sprintf("it calls the function %s, which this %s does not have", strings.ToUpper(called), vendor), hint)
}
