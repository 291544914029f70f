package sqlload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// The reader judges text by what it takes the session's settings for. Were it
// wrong about them or about the text, the server would do what nobody judged:
// so both are asked what they understood. A difference ends the load, also one
// with Salvage.

// agree compares what the reader takes the session's settings for with what they are.
func agree(s sqlread.Session, mode, charset string) error {
	has := func(name string) bool { return strings.Contains(","+mode+",", ","+name+",") }
	family := func(name string) string { // utf8 is utf8mb3 here and utf8mb4 there
		if strings.HasPrefix(name, "utf8") {
			return "utf8"
		}
		return name
	}
	if has("ANSI_QUOTES") == s.ANSIQuotes && has("NO_BACKSLASH_ESCAPES") == s.NoBackslash && family(charset) == family(s.Charset) {
		return nil
	}
	return misread(0, fmt.Sprintf("the session has the sql_mode %q and the character set %s, and not what the dump sets", mode, charset))
}

func misread(line int64, message string) error {
	if line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	return &core.Error{
		Code: core.CodeUnsupported, Op: op, Message: "the server understands the dump differently: " + message,
		Hint: "nothing more of it is loaded: load it with the mysql client into a database of its own, and look what it holds",
	}
}

// prove reads the definition of a table back and judges it by the rules for dumps.
func (l *loader) prove(ctx context.Context, s *sqlread.Statement) error {
	h := l.hands[0]
	plain := l.settings
	plain.mode = ""
	if _, err := h.exec(ctx, plain, "DO 0"); err != nil {
		return err
	}
	rows, err := h.conn.Query(ctx, "SHOW CREATE TABLE "+mysql.QuoteName(s.Name))
	if err != nil || len(rows) != 1 {
		if mysql.Number(err) == mysql.ErNoSuchTable || l.opt.Salvage && mysql.Number(err) != 0 && !ofTheServer(err) {
			return nil // it cannot be opened
		}
		return fmt.Errorf("line %d: look at table %s: %w", s.Line, s.Name, errors.Join(err))
	}
	if len(rows[0]) != 2 {
		return misread(s.Line, s.Name+" is no table there")
	}
	made, err := sqlread.New(strings.NewReader(rows[0][1].Text+";"), sqlread.Options{
		MariaDB: l.server.MariaDB(), ServerVersion: l.server.VersionNumber, Database: l.opt.Config.Database,
	}).Next()
	switch {
	case errors.Is(err, io.EOF), err == nil && (made.Kind != sqlread.KindCreate || made.Object != sqlread.ObjectTable || !strings.EqualFold(made.Name, s.Name)):
		return misread(s.Line, "it has another table "+s.Name+" than the dump makes")
	case err != nil:
		return misread(s.Line, "it has another table "+s.Name+" than the dump makes: "+strings.TrimPrefix(err.Error(), "read SQL dump: "))
	}
	if foreign := l.foreign(made); foreign != "" && l.foreign(s) == "" {
		return misread(s.Line, "of table "+s.Name+", "+foreign)
	}
	if s.Kind != sqlread.KindCreate || l.table(s.Name).Read > 0 || strings.EqualFold(made.Engine, "MRG_MyISAM") {
		return nil
	}
	rows, err = h.conn.Query(ctx, "SELECT 1 FROM "+mysql.QuoteName(s.Name)+" LIMIT 1")
	if err != nil {
		return fmt.Errorf("line %d: look at table %s: %w", s.Line, s.Name, err)
	}
	if len(rows) > 0 {
		return misread(s.Line, "table "+s.Name+" has rows as soon as it is made")
	}
	return nil
}
