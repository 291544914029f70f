package own

import (
	"fmt"
	"time"
)

// readme is README.txt, for who finds the archive and knows nothing of
// backstay. Readers look at its first line.
func (w *writer) readme() string {
	m := w.content.Manifest
	return readmeTitle + fmt.Sprintf(`
This is backup %q of the application %q on the host %q,
as it was at %s. It needs no special program:
  age -d FILE.tar.zst.age > FILE.tar.zst     (only where it is sealed; age-encryption.org)
  zstd -dc FILE.tar.zst | tar -x -p --same-owner --numeric-owner -f -
  sha256sum -c --quiet SHA256SUMS            (is each file as it was? its last line must be "# end: N files")
ENTRIES lists each entry with mode, owner, group, time and size. The application's files are in code, config
and files: app is its own folder, system is /. NAME.extra.jsonl has hard links, attributes and odd names.
A table is database/schema/table/NAME.sql, a CREATE statement, and database/data/NAME/*.tsv, its rows:
  mysql DB < database/schema/table/NAME.sql
  mysql --local-infile=1 DB, and there, with the columns in the order of database/index.json:
    SET NAMES binary, time_zone='+00:00', foreign_key_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
    LOAD DATA LOCAL INFILE 'FILE.tsv' INTO TABLE NAME CHARACTER SET binary
      FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (COLUMNS);
Of columns with a "form" in the index, "text" is loaded as (@v) SET c = CONVERT(@v USING utf8mb4); a
column with AUTO_INCREMENT then needs (@n) SET id = @n too, or a 0 in it becomes another number. Then come the
index's objects, each under the settings that stand there. manifest.json says all else that is known of the backup.
backstay reads this file as it is: backstay import APP FILE. Its docs/spec/archive.md describes it whole.
`, m.ID, m.App, m.Host, m.Time.UTC().Format(time.RFC3339))
}
