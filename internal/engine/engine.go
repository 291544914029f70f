// Package engine holds the use cases: back up, list, verify, compare, delete;
// packages below it restore, and see whether all that is possible. It composes profiles, the
// database, file trees and the repository, and is for the commands, and later
// the scheduler and the web console. It promises that a backup that it reports
// is committed and whole or says what is not in it; that it never reports a
// success that is not one; and that one operation at a time works on an app.
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// Engine works on one repository. Its methods may be called by several
// goroutines.
type Engine struct {
	Store      repository.Store
	Repository string // its URL, which ties the file caches to it
	Profiles   profile.Registry
	StateDir   string // locks and caches; made when missing
	Clock      core.Clock
	Progress   core.Progress
	Log        *slog.Logger
	Version    string // of backstay
	Host       string
	// Under is the id of the process whose guard started this one as a part of
	// its command; "": none did. What that guard holds is not waited for.
	Under string
	// SealTo are the recipients of age that secrets in configurations are sealed
	// for; none: they are stored as they are.
	SealTo []string
	// Identities open what was sealed, a line each; empty: none is here.
	Identities core.Secret
	// Narrow changes what is taken for the content of every backup that is opened,
	// for a drill of a part of it; nil: nothing does.
	Narrow func(o *Open)
}

// Target is an app to work on.
type Target struct {
	App         profile.App
	Profile     string // its name
	Consistency string // "online" or "readonly"
	Connections int    // to the database; 0: 4
}

func (e *Engine) profileOf(t Target) (profile.Profile, error) { return e.Profiles.Get(t.Profile) }

// Querier lets a profile ask over one of our connections.
func Querier(c *mysql.Conn) profile.Querier { return querier{c} }

type querier struct{ c *mysql.Conn }

func (q querier) Query(ctx context.Context, statement string) ([][]*string, error) {
	rows, err := q.c.Query(ctx, statement)
	if err != nil {
		return nil, err
	}
	out := make([][]*string, len(rows))
	for i, r := range rows {
		out[i] = make([]*string, len(r))
		for j := range r {
			if !r[j].Null {
				out[i][j] = &r[j].Text
			}
		}
	}
	return out, nil
}

var _ profile.Querier = querier{}

// TakeNamedLocks holds the application's own locks on c until c is closed, so
// that its own backup or restore stays away. wait is how long to wait for each,
// in seconds.
func TakeNamedLocks(ctx context.Context, c *mysql.Conn, names []string, wait int) error {
	for _, n := range names {
		rows, err := c.Query(ctx, fmt.Sprintf("SELECT GET_LOCK(%s, %d)", mysql.QuoteText(n), wait))
		if err != nil {
			return fmt.Errorf("take the application's lock %s: %w", n, err)
		}
		if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0].Text != "1" {
			return &core.Error{
				Code: core.CodeLocked, Op: "take the application's lock " + n,
				Message: "the application itself is backing up or restoring",
				Hint:    "wait until it is done, then try again",
			}
		}
	}
	return nil
}

// QuietStage forwards progress but for stages: several parts of one stage run
// at the same time.
func QuietStage(p core.Progress) core.Progress { return quietStage{p} }

type quietStage struct{ core.Progress }

func (quietStage) Stage(string, int64) {}

func ensureDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return &core.Error{
			Code: core.CodeDisk, Op: "prepare state folder", Err: err,
			Hint: "run as a user who may write there, or set state_dir in backstay.yaml",
		}
	}
	return nil
}
