package sqlread

import "github.com/backstay/backstay/internal/mysql/sqlread/lexer"

func (g *grammar) alter() error {
	st := g.st
	st.Kind = KindAlter
	switch {
	case g.word("TABLE") != "", g.words("IGNORE", "TABLE"), g.words("ONLINE", "TABLE"):
		return g.alterTable()
	case g.word("SEQUENCE") != "":
		g.words("IF", "EXISTS")
		name, err := g.target()
		if err != nil {
			return err
		}
		st.Object, st.Name = ObjectSequence, name
		return g.sequenceOptions()
	case g.word("DATABASE", "SCHEMA") != "":
		return g.alterDatabase()
	}
	return lexer.Refuse("a statement that dumps do not have")
}

// alterDatabase takes the character set that mysqldump sets around routines;
// without the name it is about the default database.
func (g *grammar) alterDatabase() error {
	if p := g.peek(0); p.kind == lexer.Name || p.kind == lexer.Word && p.upper != "CHARACTER" && p.upper != "DEFAULT" && p.upper != "COLLATE" && p.upper != "CHARSET" {
		name, err := g.name()
		if err != nil {
			return err
		}
		if g.r.database == "" {
			g.r.database = name
		}
		if err := g.own(name); err != nil {
			return err
		}
		p.dropped = true
	}
	if g.end() {
		return lexer.Refuse("a statement that dumps do not have")
	}
	g.st.Object, g.st.Name = ObjectDatabase, g.r.database
	return g.databaseOptions()
}

func (g *grammar) alterTable() error {
	name, err := g.target()
	if err != nil {
		return err
	}
	g.st.Object, g.st.Name = ObjectTable, name
	for {
		switch action := g.word("ENABLE", "DISABLE", "ADD", "MODIFY", "AUTO_INCREMENT", "COMMENT"); action {
		case "ENABLE", "DISABLE":
			if g.word("KEYS") == "" {
				return lexer.Refuse("a change of a table that dumps do not have")
			}
		case "AUTO_INCREMENT", "COMMENT":
			if err := g.optionValue(); err != nil {
				return err
			}
		case "ADD", "MODIFY":
			if p := g.peek(0).upper; p == "PARTITION" {
				return lexer.Refuse("a change of a table that dumps do not have")
			}
			if err := g.action(); err != nil {
				return err
			}
		default:
			return lexer.Refuse("a change of a table that dumps do not have")
		}
		if !g.mark(",") {
			return g.finish()
		}
	}
}

// action judges one definition that is added or changed, up to the comma behind it.
func (g *grammar) action() error {
	depth := 0
	for ; !g.end() && (depth > 0 || !g.is(0, ",") && !g.is(0, ";") && !g.autoIncrement()); g.i++ {
		if err := g.member(&depth); err != nil {
			return err
		}
		if depth < 0 {
			return lexer.Refuse("a parenthesis ends that has not begun")
		}
	}
	if depth != 0 {
		return lexer.Refuse("a parenthesis that does not end")
	}
	return nil
}

// autoIncrement says whether AUTO_INCREMENT=n stands here, which phpMyAdmin
// writes as an action of its own.
func (g *grammar) autoIncrement() bool {
	return g.is(0, ",") && g.peek(1).upper == "AUTO_INCREMENT" && g.is(2, "=")
}
