// Package smoke looks whether an application works: whether its configuration
// and its database can be read, whether code and database belong together, and
// whether it answers. It is for the engine, after a restore and around a
// command that may break the application. It promises to change nothing, and
// to say of every problem whether it is one that was there before.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// Names of problems that this package finds; those of a profile's Check have
// the names of its findings.
const (
	Configuration = "configuration" // cannot be read or understood
	Database      = "database"      // cannot be reached or asked
	Unreachable   = "unreachable"   // nothing answers at the application's address
	Answer        = "answer"        // it answers that it is broken
	Command       = "command"       // that looks at the application failed
)

// Problem is something that an application that works does not have.
type Problem struct {
	Name    string `json:"name"`
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
}

// SameAs says whether p is what q was: not the same words, where these hold
// what is another in every attempt.
func (p Problem) SameAs(q Problem) bool {
	return p.Name == q.Name && p.Object == q.Object && (p.Name == Unreachable || p.Name == Database || p.Message == q.Message)
}

// Seen is what was looked at, and what was found.
type Seen struct {
	Checked  []string  `json:"checked"` // in words: "database wiki", "https://wiki.example.org/"
	Problems []Problem `json:"problems"`
}

// Since returns the problems that earlier did not have. A nil earlier had none.
func (s *Seen) Since(earlier *Seen) []Problem {
	out := []Problem{}
	for _, p := range s.Problems {
		if !earlier.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// Has says whether p is among the problems; a nil Seen has none.
func (s *Seen) Has(p Problem) bool {
	return s != nil && slices.ContainsFunc(s.Problems, p.SameAs)
}

// Silent says whether the application did not answer as it should.
func (s *Seen) Silent() bool {
	return s != nil && slices.ContainsFunc(s.Problems, func(p Problem) bool { return p.Name == Unreachable || p.Name == Answer })
}

func (s *Seen) problem(name, object, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{name, object, fmt.Sprintf(format, args...)})
}

// databaseLimit is how long the database may take for all that it is asked.
const databaseLimit = 2 * time.Minute

// Look looks at the live app. patience is how long it may take to begin to
// answer, as after the start of a server. The error is that of a cancelled ctx.
func Look(ctx context.Context, e *engine.Engine, t engine.Target, patience time.Duration) (*Seen, error) {
	s := &Seen{Checked: []string{"its configuration"}, Problems: []Problem{}}
	p, err := e.Profiles.Get(t.Profile)
	if err != nil {
		return nil, err
	}
	app, err := p.Discover(ctx, t.App)
	if err != nil {
		s.problem(Configuration, t.App.Name, "%v", err)
	} else if app.Database != nil {
		s.Checked = append(s.Checked, "database "+app.Database.Name)
		s.database(ctx, p, t.App, app)
	}
	if address := p.URL(t.App, app); address != "" {
		s.Checked = append(s.Checked, address)
		s.answers(ctx, address, patience)
	}
	return s, ctx.Err()
}

func (s *Seen) database(ctx context.Context, p profile.Profile, given profile.App, app *core.Application) {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	c, err := mysql.Connect(ctx, mysql.ConfigOf(*app.Database))
	if err != nil {
		s.problem(Database, app.Database.Name, "%v", err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil && ctx.Err() == nil {
			s.problem(Database, app.Database.Name, "%v", err)
		}
	}()
	q := engine.Querier(c)
	if err := p.Versions(ctx, q, app); err != nil {
		s.problem(Database, app.Database.Name, "%v", err)
		return
	}
	if x, ok := p.(profile.Expecter); ok {
		want, is := x.ExpectedSchema(app)
		if want != "" && is != "" && want != is {
			s.problem(profile.FindingSchemaVersion, app.Database.Name, "the database is of version %s and the code expects %s: the application's own update of the database has not been run to its end", is, want)
		}
	}
	for _, f := range p.Check(ctx, q, app, profile.Restored{
		App: given, Root: app.Root, Prefix: app.Database.Prefix, Database: true, Versions: app.Versions, Settings: app.Settings,
	}) {
		if f.Kind != core.FindingFine {
			s.problem(f.Name, f.Object, "%s", f.Message)
		}
	}
}

// again is how long to wait before an application that does not answer is
// asked again.
const again = 500 * time.Millisecond

func (s *Seen) answers(ctx context.Context, address string, patience time.Duration) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		status, err := ask(ctx, address)
		if err == nil && status < http.StatusInternalServerError {
			return
		}
		select {
		case <-time.After(again):
			continue
		case <-ctx.Done():
		case <-over.C:
		}
		if err != nil {
			s.problem(Unreachable, address, "%v", err)
		} else {
			s.problem(Answer, address, "it answers %d %s", status, http.StatusText(status))
		}
		return
	}
}

// Answers asks the application for its page once, as a visitor would.
func Answers(ctx context.Context, address string) error {
	status, err := ask(ctx, address)
	if err == nil && status >= http.StatusInternalServerError {
		err = fmt.Errorf("it answers %d %s", status, http.StatusText(status))
	}
	return err
}

// AnswersWithin is Answers for an application that was just changed: the first
// visitors may meet an error while it fills its caches. One that cannot be
// reached is not waited for.
func AnswersWithin(ctx context.Context, address string, patience time.Duration) error {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		status, err := ask(ctx, address)
		if err != nil || status < http.StatusInternalServerError {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return fmt.Errorf("it answers %d %s", status, http.StatusText(status))
		}
	}
}

// answerLimit is how long the application may take to answer.
const answerLimit = 30 * time.Second

func ask(ctx context.Context, address string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) { // the address is said anyway
		err = failed.Err
	}
	if err != nil {
		return 0, err
	}
	const most = 1 << 20 // a page is enough, and there may be no end
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, most))
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}
