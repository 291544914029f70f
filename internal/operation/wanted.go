package operation

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// asksTimeout bounds how long all applications together are asked at one look:
// where the server of many hangs, a check is still to be made.
const asksTimeout = 90 * time.Second

// told is what an application said last, and for which configuration.
type told struct {
	For string `json:"for"`
	Wanted
}

func (a App) toldFor() string {
	text, err := json.Marshal(struct {
		Profile   string
		Schedules []schedule.Spec
		Retention []retention.Policy
	}{a.Profile, a.Schedules, a.Retention})
	if err != nil {
		return "" // it is never remembered
	}
	return string(text)
}

func wantedKey(app string) string { return "wanted/" + app }

// wanted asks for what an app wants, and remembers what the application said
// for those who must not wait for its database.
func (c *Caretaker) wanted(ctx context.Context, a App) Wanted {
	w := Want(ctx, c.Engine, a)
	if asked := a.toldFor(); a.AsksApp() && w.Unusable == nil && w.Unkept == nil && asked != "" {
		c.stateFailed(ctx, "remember an app's schedule", c.State.SetValue(ctx, wantedKey(a.Name), told{asked, w}))
	}
	return w
}

// recall returns what the application said last, of the present configuration.
func (c *Caretaker) recall(ctx context.Context, a App) (Wanted, bool) {
	if !a.AsksApp() {
		return Want(ctx, c.Engine, a), true
	}
	var last told
	ok, err := c.State.Value(ctx, wantedKey(a.Name), &last)
	c.stateFailed(ctx, "read an app's schedule", err)
	return last.Wanted, ok && err == nil && last.For != "" && last.For == a.toldFor()
}

// wish is what an app that is looked at wants. With live the application is
// asked, else only where it never said it. asking bounds that.
func (c *Caretaker) wish(ctx, asking context.Context, a App, live bool) Wanted {
	if !live || asking.Err() != nil {
		if w, ok := c.recall(ctx, a); ok {
			return w
		}
	}
	return c.wanted(asking, a)
}

// remembered is what is known of what an app wants without asking it.
func (c *Caretaker) remembered(ctx context.Context, a App) Wanted {
	if w, ok := c.recall(ctx, a); ok {
		return w
	}
	return Wanted{
		Schedules: slices.DeleteFunc(slices.Clone(a.Schedules), fromApp), Retention: []retention.Policy{{Hold: true}},
	}
}
