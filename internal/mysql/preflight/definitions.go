package preflight

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// readers is how many definitions are read at once.
const readers = 8

// readTexts reads the statements that will be run.
func (a *asker) readTexts(ctx context.Context) error {
	a.texts = map[string]string{}
	if a.in.Read == nil {
		return nil
	}
	var paths []string
	for _, t := range a.tables {
		paths = append(paths, t.Schema)
	}
	for _, o := range a.objects {
		paths = append(paths, o.File)
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, path := range paths {
		g.Go(func() error {
			text, err := a.in.Read(ctx, path)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			mu.Lock()
			defer mu.Unlock()
			a.texts[path] = string(a.in.Plan.Statement(path, text))
			return nil
		})
	}
	return g.Wait()
}

// mask is a statement whose quoted parts are numbers between \x01: what is
// found in it is the statement's own.
type mask struct {
	text   string
	quoted []string // with their quotes
}

func masked(statement string) mask {
	var m mask
	var out strings.Builder
	for i := 0; i < len(statement); {
		c := statement[i]
		if c != '`' && c != '\'' && c != '"' {
			out.WriteByte(c)
			i++
			continue
		}
		end := i + 1
		for end < len(statement) && statement[end] != c {
			if statement[end] == '\\' && c != '`' {
				end++
			}
			end++
		}
		end = min(end+1, len(statement))
		fmt.Fprintf(&out, "\x01%d\x01", len(m.quoted))
		m.quoted = append(m.quoted, statement[i:end])
		i = end
	}
	m.text = out.String()
	return m
}

// all returns the quoted parts, without quotes, that stand where the pattern's
// group is.
func (m mask) all(pattern *regexp.Regexp) []string {
	var found []string
	for _, match := range pattern.FindAllStringSubmatch(m.text, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil || n >= len(m.quoted) {
			continue
		}
		if q := m.quoted[n]; len(q) >= 2 {
			found = append(found, q[1:len(q)-1])
		}
	}
	return found
}

// What tables' definitions may ask of a server, as SHOW CREATE prints it.
var (
	folderOption     = regexp.MustCompile("(?:DATA|INDEX) DIRECTORY ?= ?\x01(\\d+)\x01")
	tablespaceOption = regexp.MustCompile("TABLESPACE ?=? ?\x01(\\d+)\x01")
	parserOption     = regexp.MustCompile("WITH PARSER \x01(\\d+)\x01")
	encryptedOption  = regexp.MustCompile("ENCRYPTED\x01?\\d*\x01? ?= ?(?:YES|\x01(\\d+)\x01)")
	encryptionOption = regexp.MustCompile("ENCRYPTION ?= ?\x01(\\d+)\x01")
	compressedOption = regexp.MustCompile(`ROW_FORMAT ?= ?COMPRESSED|KEY_BLOCK_SIZE ?= ?\d`)
)

// wants is what the tables' definitions ask of the server: each with the tables.
type wants struct {
	folders, tablespaces, parsers map[string][]string
	encrypted, compressed         []string
}

func (a *asker) readWants() wants {
	w := wants{folders: map[string][]string{}, tablespaces: map[string][]string{}, parsers: map[string][]string{}}
	for _, t := range a.tables {
		text, ok := a.texts[t.Schema]
		if !ok {
			continue
		}
		m := masked(text)
		add := func(to map[string][]string, pattern *regexp.Regexp) {
			for _, what := range m.all(pattern) {
				if !slices.Contains(to[what], t.Name) {
					to[what] = append(to[what], t.Name)
				}
			}
		}
		for _, folder := range m.all(folderOption) {
			if folder = filepath.Clean(folder); !slices.Contains(w.folders[folder], t.Name) {
				w.folders[folder] = append(w.folders[folder], t.Name)
			}
		}
		add(w.parsers, parserOption)
		if !a.r.Server.MariaDB() { // MariaDB reads it and does nothing
			add(w.tablespaces, tablespaceOption)
			if slices.Contains(m.all(encryptionOption), "Y") {
				w.encrypted = append(w.encrypted, t.Name)
			}
		} else if encryptedYes(m) {
			w.encrypted = append(w.encrypted, t.Name)
		}
		if strings.EqualFold(t.Engine, "InnoDB") && compressedOption.MatchString(m.text) {
			w.compressed = append(w.compressed, t.Name)
		}
	}
	return w
}

// encryptedYes says whether a table of MariaDB is encrypted by its own option,
// whose name the server prints quoted.
func encryptedYes(m mask) bool {
	text := m.text
	for i, q := range m.quoted {
		if name := strings.Trim(q, "`'\""); strings.EqualFold(name, "encrypted") || strings.EqualFold(name, "yes") {
			text = strings.ReplaceAll(text, fmt.Sprintf("\x01%d\x01", i), strings.ToUpper(name))
		}
	}
	return encryptedOption.MatchString(text)
}

// findDefinitions looks whether the server can take what definitions ask of it
// besides what package portable knows of.
func (a *asker) findDefinitions(ctx context.Context) error {
	if a.in.Read == nil {
		return nil
	}
	a.findLong()
	w := a.readWants()
	a.findFolders(w)
	if len(w.compressed) > 0 && a.on("innodb_read_only_compressed") {
		a.find(core.FindingImpossible, "compressed-tables", core.Some(w.compressed, shown), "SET GLOBAL innodb_read_only_compressed=OFF on the server", "they are compressed by InnoDB, and the server does not write such tables (innodb_read_only_compressed)")
	}
	if len(w.parsers)+len(w.encrypted) > 0 {
		if err := a.findPlugins(ctx, w); err != nil {
			return err
		}
	}
	return a.findTablespaces(ctx, w)
}

// findLong looks for definitions that do not fit into a packet. Rows are
// package portable's.
func (a *asker) findLong() {
	const room = 1 << 10 // for other names in it
	limit := a.r.Server.MaxAllowedPacket
	before := len(a.r.Findings)
	look := func(object, path string) {
		if n := int64(len(a.texts[path])) + room; n >= limit {
			a.find(core.FindingImpossible, "packet-size", object, fmt.Sprintf("SET GLOBAL max_allowed_packet=%d on the server", (n/(1<<20)+1)<<20),
				"its definition has %s, and the server takes statements of %s (max_allowed_packet)", size(n-room), size(limit))
		}
	}
	for _, t := range a.tables {
		look("table "+t.Name, t.Schema)
	}
	for _, o := range a.objects {
		look(o.Kind+" "+o.Name, o.File)
	}
	if len(a.r.Findings) == before {
		a.fine("packet-size", "", "every definition fits into the server's max_allowed_packet, %s", size(limit))
	}
}

// findFolders looks for folders that tables are to lie in. Nothing is tried:
// servers make such folders, and leave them there.
func (a *asker) findFolders(w wants) {
	for _, folder := range slices.Sorted(maps.Keys(w.folders)) {
		tables := core.Some(w.folders[folder], shown)
		switch {
		case !a.r.Server.MariaDB() && a.grants != nil && !a.roles && !a.global("FILE"):
			a.find(core.FindingImpossible, "data-directory", tables, "GRANT FILE ON *.* TO the account, or restore the other tables with --table", "they lie in folder %s, and only an account with the right FILE may place tables", folder)
		case !a.local():
			a.fine("data-directory", tables, "they lie in folder %s; whether the server has it is not known", folder)
		default:
			if _, err := os.Stat(folder); err != nil {
				a.find(core.FindingDecision, "data-directory", tables, "make the folder and give it to the server's user, or mount there what was mounted at the origin", "they lie in folder %s, which is not there: the server makes it where it can", folder)
			} else {
				a.fine("data-directory", tables, "they lie in folder %s, which is there", folder)
			}
		}
	}
}

func (a *asker) findPlugins(ctx context.Context, w wants) error {
	rows, ok, err := a.try(ctx, "SELECT PLUGIN_NAME, PLUGIN_TYPE FROM information_schema.PLUGINS WHERE PLUGIN_STATUS='ACTIVE' AND (PLUGIN_TYPE IN ('FTPARSER','ENCRYPTION','KEYRING') OR PLUGIN_NAME LIKE 'keyring%')")
	if err != nil || !ok {
		return err
	}
	parsers, keys := map[string]bool{}, false
	for _, r := range rows {
		if r[1].Text == "FTPARSER" {
			parsers[strings.ToLower(r[0].Text)] = true
		} else {
			keys = true
		}
	}
	for _, parser := range slices.Sorted(maps.Keys(w.parsers)) {
		if !parsers[strings.ToLower(parser)] {
			a.find(core.FindingImpossible, "fulltext-parser", core.Some(w.parsers[parser], shown), "install the plugin on the server, or restore the other tables with --table", "they have full-text keys by parser %s, which the server does not have", parser)
		}
	}
	if len(w.encrypted) == 0 {
		return nil
	}
	if !keys && !a.r.Server.MariaDB() { // MySQL's keyring may be a component
		rows, ok, err := a.try(ctx, "SELECT 1 FROM performance_schema.keyring_component_status WHERE STATUS_KEY='Component_status' AND STATUS_VALUE='Active'")
		if err != nil {
			return err
		}
		if !ok {
			a.fine("encryption", core.Some(w.encrypted, shown), "they are encrypted; whether the server has keys is not known")
			return nil
		}
		keys = len(rows) > 0
	}
	if keys {
		a.fine("encryption", core.Some(w.encrypted, shown), "they are encrypted, and the server has keys")
		return nil
	}
	a.find(core.FindingImpossible, "encryption", core.Some(w.encrypted, shown), "install the server's key management (file_key_management, a keyring), or restore the other tables with --table",
		"they are encrypted, and the server has no keys")
	return nil
}

// findTablespaces looks for MySQL's general tablespaces.
func (a *asker) findTablespaces(ctx context.Context, w wants) error {
	for _, space := range slices.Sorted(maps.Keys(w.tablespaces)) {
		if strings.HasPrefix(space, "innodb_") { // the server's own
			continue
		}
		tables := core.Some(w.tablespaces[space], shown)
		rows, ok, err := a.try(ctx, "SELECT 1 FROM information_schema.INNODB_TABLESPACES WHERE NAME="+mysql.QuoteText(space))
		switch {
		case err != nil:
			return err
		case !ok:
			a.fine("tablespace", tables, "they lie in tablespace %s; whether the server has it is not known", space)
		case len(rows) == 0:
			a.find(core.FindingImpossible, "tablespace", tables, "on the server: CREATE TABLESPACE "+mysql.QuoteName(space)+" ADD DATAFILE …", "they lie in tablespace %s, which the server does not have", space)
		default:
			a.fine("tablespace", tables, "they lie in tablespace %s, which the server has", space)
		}
	}
	return nil
}

// findHistory looks whether former versions of rows can be written.
func (a *asker) findHistory(ctx context.Context) error {
	var tables []string
	var former int64
	for _, t := range a.tables {
		if t.History != nil && t.History.Rows > t.Rows {
			tables, former = append(tables, t.Name), former+t.History.Rows-t.Rows
		}
	}
	if len(tables) == 0 {
		return nil
	}
	object := core.Some(tables, shown)
	why := "only MariaDB from 10.11 on can"
	if s := a.r.Server; s.MariaDB() && s.VersionNumber >= 101100 {
		why = ""
		// As package load does.
		for _, set := range []string{"system_versioning_insert_history=1", "timestamp=1", "timestamp=DEFAULT", "system_versioning_insert_history=0"} {
			if _, err := a.c.Exec(ctx, "SET SESSION "+set); mysql.Number(err) != 0 {
				why = mysql.ServerText(err)
			} else if err != nil {
				return err
			}
		}
	}
	if why == "" {
		a.fine("history", object, "their %d former rows can be restored too", former)
		return nil
	}
	a.find(core.FindingDecision, "history", object, "allow the account to choose the time (secure_timestamp=NO on the server), or restore on MariaDB 10.11 or newer",
		"their present rows are restored; the %d former ones cannot be written here: %s", former, why)
	return nil
}
