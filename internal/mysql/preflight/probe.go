package preflight

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

const (
	erLogBinUnsafe  = 1418 // a function that does not declare what it does; portable's
	erLogBinDenied  = 1419
	erReadOnly      = 1290
	erReadOnlyMySQL = 1836

	// abandoned is the age in seconds from which on a probe object was left by
	// a process that was killed.
	abandoned = 3600
	cleanup   = 10 * time.Second
)

// prober makes objects and knows what is left to remove.
type prober struct {
	*asker
	database string // in which it works
	name     string // of what it makes
	left     []string
}

// probe tries all rights that the restore needs, on objects of its own, and
// the plan's rewritten definitions.
func (a *asker) probe(ctx context.Context) (err error) {
	rows, err := a.c.Query(ctx, "SELECT UNIX_TIMESTAMP()")
	if err != nil {
		return fmt.Errorf("ask for the server's time: %w", err)
	}
	now := parse(rows[0][0].Text)
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("make a name: %w", err)
	}
	p := &prober{asker: a, database: a.name, name: fmt.Sprintf("%s%x_%s", ProbePrefix, now, hex.EncodeToString(random[:]))}
	defer func() { err = errors.Join(err, p.clean(ctx)) }()
	// Waiting for locks has a limit of its own, which tells itself apart.
	if err := a.limit(ctx, 0); err != nil {
		return err
	}
	if err := a.set(ctx, "sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'", "foreign_key_checks=0", "innodb_strict_mode=0", "sql_require_primary_key=0", "sql_generate_invisible_primary_key=0"); err != nil {
		return err
	}
	if !a.r.Exists {
		p.database = p.name
		drop := "DROP DATABASE IF EXISTS " + mysql.QuoteName(p.name)
		if done, err := p.do(ctx, right{name: "CREATE"}, try{"CREATE DATABASE " + mysql.QuoteName(p.name), drop}); err != nil || !done {
			return err
		}
	}
	if _, err := a.c.Exec(ctx, "USE "+mysql.QuoteName(p.database)); err != nil {
		return fmt.Errorf("use database %s: %w", p.database, err)
	}
	if a.r.Exists {
		if err := p.sweep(ctx, now); err != nil {
			return err
		}
	}
	if err := p.tryAll(ctx, a.rightsNeeded(p.name)); err != nil {
		return err
	}
	return p.rehearse(ctx)
}

// tryAll tries the rights. Without those to make tables and to drop them, the
// others are looked up in the grants.
func (p *prober) tryAll(ctx context.Context, needed []right) error {
	for i, r := range needed {
		keep := len(p.left)
		for _, t := range r.tries {
			done, err := p.do(ctx, r, t)
			if err != nil {
				return err
			}
			if !done && i < 2 {
				p.rightsByGrants(needed[i+1:])
				return nil
			}
			if !done {
				break
			}
		}
		if i >= 2 { // the table stays for the others
			if err := p.undo(ctx, keep); err != nil {
				return err
			}
		}
	}
	return p.undo(ctx, p.base())
}

// base is how much is left to remove when no probe is under way.
func (p *prober) base() int {
	if p.database == p.name {
		return 1
	}
	return 0
}

// do runs a statement; done is false when the server refuses it, which is then
// a finding.
func (p *prober) do(ctx context.Context, r right, t try) (done bool, err error) {
	if t.undo != "" {
		p.left = append(p.left, t.undo)
	}
	_, err = p.c.Exec(ctx, t.statement)
	if err == nil {
		return true, nil
	}
	number := mysql.Number(err)
	if number == 0 {
		return false, fmt.Errorf("try right %s: %w", r.name, err)
	}
	if t.undo != "" { // nothing was made
		p.left = p.left[:len(p.left)-1]
	}
	switch {
	case number == erLogBinDenied, number == erLogBinUnsafe:
		p.distrusted(strings.ToLower(strings.Fields(t.statement)[1]), mysql.ServerText(err))
	case number == erReadOnly, number == erReadOnlyMySQL:
		p.find(core.FindingImpossible, "read-only-server", "", "SET GLOBAL read_only=0, if this server is meant to be written to; is it a replica?", "the server takes no writes: %s", mysql.ServerText(err))
	case mysql.AccessDenied(err):
		p.lacks(r, mysql.ServerText(err))
	case number == mysql.ErLockWaitTimeout:
		p.find(core.FindingImpossible, "server-locked", "", "another backup or an administrator holds a lock on the whole server (SHOW FULL PROCESSLIST); try again when it is over", "nothing can be made on the server now: it was locked for over %d seconds", lockLimit)
	default:
		p.find(core.FindingImpossible, "server-refuses", r.name, "the server's log may say more", "a probe of its kind was refused: %s", mysql.ServerText(err))
	}
	return false, nil
}

// undo removes what was made, down to what keep says.
func (p *prober) undo(ctx context.Context, keep int) error {
	for len(p.left) > keep {
		last := len(p.left) - 1
		if _, err := p.c.Exec(ctx, p.left[last]); err != nil {
			return fmt.Errorf("remove a probe object: %w", err)
		}
		p.left = p.left[:last]
	}
	return nil
}

// rehearse has the server take the plan's rewritten definitions.
func (p *prober) rehearse(ctx context.Context) error {
	if p.in.Plan == nil || len(p.in.Plan.Refusals) > 0 {
		return nil
	}
	keep := len(p.left)
	q := mysql.QuoteName(p.name)
	p.left = append(p.left, "DROP TABLE IF EXISTS "+q, "DROP PROCEDURE IF EXISTS "+q, "DROP FUNCTION IF EXISTS "+q)
	err := p.in.Plan.Rehearse(ctx, p.c, p.name)
	var refused *core.Error
	if errors.As(err, &refused) && refused.Code == core.CodeNotPortable {
		p.left = p.left[:keep]
		p.find(core.FindingImpossible, "definition-refused", strings.TrimPrefix(refused.Op, "restore "), refused.Hint, "the server does not take its definition: %s", mysql.ServerText(refused.Err))
		return nil
	}
	if err != nil {
		return err
	}
	p.left = p.left[:keep] // Rehearse removes what it makes
	return nil
}

// clean removes what is still there, by a session of its own: the other one may
// have ended in the middle of a statement.
func (p *prober) clean(ctx context.Context) (err error) {
	if len(p.left) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	cfg := p.cfg
	if p.database != p.name {
		cfg.Database = p.database
	}
	c, err := mysql.Connect(ctx, cfg)
	if err == nil {
		defer func() { err = errors.Join(err, c.Close()) }()
		// The statement that was under way may still be: it is waited for, because
		// it makes something after this otherwise.
		if err := endSession(ctx, c, p.c.ID()); err != nil {
			return err
		}
		for i := len(p.left) - 1; i >= 0; i-- {
			if p.database == p.name && i > 0 {
				continue // goes with the database
			}
			if _, rerr := c.Exec(ctx, p.left[i]); rerr != nil && !mysql.AccessDenied(rerr) {
				err = errors.Join(err, rerr)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("remove probe objects %s from database %s: %w", p.name, p.database, err)
	}
	return nil
}

// endSession ends a session of the same account, which needs no right.
func endSession(ctx context.Context, c *mysql.Conn, id uint32) error {
	if _, err := c.Exec(ctx, "KILL "+strconv.FormatUint(uint64(id), 10)); err != nil && mysql.Number(err) == 0 {
		return err
	}
	return nil
}

// sweep removes what a process that was killed left behind. A name says when it
// was made, by the server's clock.
func (p *prober) sweep(ctx context.Context, now int64) error {
	schema := mysql.QuoteText(p.database)
	like := mysql.QuoteText(strings.ReplaceAll(ProbePrefix, "_", "|_") + "%")
	for _, query := range []string{
		"SELECT IF(TABLE_TYPE='VIEW','VIEW','TABLE'), TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=" + schema + " AND TABLE_NAME LIKE " + like + " ESCAPE '|'",
		"SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=" + schema + " AND ROUTINE_NAME LIKE " + like + " ESCAPE '|'",
		"SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + schema + " AND EVENT_NAME LIKE " + like + " ESCAPE '|'",
		"SELECT 'DATABASE', SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE " + like + " ESCAPE '|'",
	} {
		rows, _, err := p.try(ctx, query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if age, ok := probeAge(r[1].Text, now); !ok || age < abandoned {
				continue
			}
			if _, err := p.c.Exec(ctx, "DROP "+r[0].Text+" IF EXISTS "+mysql.QuoteName(r[1].Text)); err != nil && mysql.Number(err) == 0 {
				return err
			}
		}
	}
	return nil
}

// probeAge says how many seconds ago a probe object was made, by its name.
func probeAge(name string, now int64) (seconds int64, ok bool) {
	made, _, ok := strings.Cut(strings.TrimPrefix(name, ProbePrefix), "_")
	at, err := strconv.ParseInt(made, 16, 64)
	return now - at, ok && err == nil && strings.HasPrefix(name, ProbePrefix)
}
