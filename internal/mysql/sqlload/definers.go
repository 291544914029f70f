package sqlload

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// erNoSuchUser is what the server says of a definer that is not there: a remark
// where an object is made, an error where the object is used.
const erNoSuchUser = 1449

// ofTheServersOwn says which account an object would run as that the server has
// for itself; "" none. Nobody's database has such objects.
func ofTheServersOwn(s *sqlread.Statement) string {
	user := strings.ToLower(strings.TrimSpace(s.DefinerUser))
	if user != "mariadb.sys" && !strings.HasPrefix(user, "mysql.") {
		return ""
	}
	return fmt.Sprintf("it would run as %s@%s, an account that belongs to the server itself", s.DefinerUser, s.DefinerHost)
}

// makeDefiner has the account made that an object runs as.
func (l *loader) makeDefiner(ctx context.Context, p postponed) error {
	account := p.DefinerUser + "@" + p.DefinerHost
	if l.opt.MakeDefiner == nil || p.Definer == "" || l.definers[account] || p.DefinerUser == "CURRENT_USER" || p.DefinerUser == "CURRENT_ROLE" {
		return nil
	}
	err := l.opt.MakeDefiner(ctx, p.DefinerUser, p.DefinerHost)
	if err != nil && (mysql.Number(err) == 0 || ofTheServer(err)) {
		return err
	}
	l.definers[account] = true // one that the server does not take is missed where it matters
	return nil
}

// noteOrphan remembers an object whose definer is not there, as the server just
// remarked: what reads it does not work.
func (l *loader) noteOrphan(ctx context.Context, p postponed) error {
	if p.Object == sqlread.ObjectTrigger || p.Object == sqlread.ObjectEvent || p.StandIn {
		return nil
	}
	remarks, err := l.hands[0].conn.Query(ctx, "SHOW WARNINGS")
	if err != nil {
		return fmt.Errorf("ask what the server remarked on %s: %w", called(p.Statement), err)
	}
	if slices.ContainsFunc(remarks, func(r mysql.Row) bool { return len(r) == 3 && r[1].Text == strconv.Itoa(erNoSuchUser) }) {
		l.orphans = append(l.orphans, p)
	}
	return nil
}

// lacksDefiner says whether an object could not be made because the definer of
// what it uses is not there.
func lacksDefiner(todo []postponed) bool {
	return slices.ContainsFunc(todo, func(p postponed) bool {
		n := mysql.Number(p.err)
		return n == erNoSuchUser || n == mysql.ErViewInvalid
	})
}

// adopt gives objects whose definers are not there to the loading account, as
// far as todo needs them, and returns what cannot be made all the same.
func (l *loader) adopt(ctx context.Context, todo []postponed) (_ []postponed, err error) {
	for len(l.orphans) > 0 && lacksDefiner(todo) {
		orphans := l.orphans
		l.orphans = nil
		for _, p := range orphans {
			if _, err := l.make(ctx, p, "DROP "+strings.ToUpper(string(p.Object))+" IF EXISTS "+mysql.QuoteName(p.Name)); err != nil {
				return nil, fmt.Errorf("line %d: give %s to the loading account: %w", p.Line, called(p.Statement), err)
			}
			l.made(p, -1)
		}
		left, err := l.takeOver(ctx, orphans)
		if err != nil {
			return nil, err
		}
		if todo, err = l.rounds(ctx, append(left, todo...)); err != nil {
			return nil, err
		}
	}
	if lacksDefiner(todo) {
		return l.takeOver(ctx, todo)
	}
	return todo, nil
}

// takeOver makes objects with the loading account as their definer, and returns
// those that cannot be made.
func (l *loader) takeOver(ctx context.Context, objects []postponed) ([]postponed, error) {
	own := make([]postponed, len(objects))
	for i, p := range objects {
		s := *p.Statement
		s.Text, s.Definer = p.WithDefiner(""), ""
		p.Statement = &s
		own[i] = p
	}
	left, err := l.rounds(ctx, own)
	if err != nil {
		return nil, err
	}
	for i, p := range objects {
		if p.Definer != "" && !slices.ContainsFunc(left, func(q postponed) bool { return q.Statement == own[i].Statement }) {
			l.warnOfDefiner(p, "is not on this server, and what reads it would not work")
		}
	}
	return left, nil
}

func (l *loader) warnOfDefiner(p postponed, why string) {
	l.warn(core.Warning{
		Code: "definer", Object: string(p.Object) + " " + p.Name,
		Message: fmt.Sprintf("its definer %s@%s %s; the backup does not say whose it is, and a restore gives it to the restoring account", p.DefinerUser, p.DefinerHost, why),
	})
}
