package core_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestErrorText: an error says once what was being done.
func TestErrorText(t *testing.T) {
	inner := &core.Error{Code: core.CodeConfig, Op: "back up app wiki", Message: "there is nothing to back up", Hint: "give files:"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{inner, "back up app wiki: there is nothing to back up"},
		{&core.Error{Code: core.CodeFailed, Op: "back up app wiki", Err: inner}, "back up app wiki: there is nothing to back up"},
		{&core.Error{Code: core.CodeFailed, Op: "back up app wiki", Err: fmt.Errorf("%w", inner)}, "back up app wiki: there is nothing to back up"},
		{&core.Error{Code: core.CodeFailed, Op: "back up app wiki2", Err: inner}, "back up app wiki2: back up app wiki: there is nothing to back up"},
		{&core.Error{Code: core.CodeFailed, Op: "guard app wiki", Message: "sh was not run", Err: inner}, "guard app wiki: sh was not run: back up app wiki: there is nothing to back up"},
		{&core.Error{Code: core.CodeFailed, Op: "back up app wiki", Err: errors.New("disk full")}, "back up app wiki: disk full"},
		{&core.Error{Code: core.CodeFailed, Message: "disk full"}, "disk full"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	outer := &core.Error{Code: core.CodeOf(inner), Op: "back up app wiki", Err: inner}
	if core.CodeOf(outer) != core.CodeConfig || core.HintOf(outer) != "give files:" {
		t.Errorf("code %s, hint %q", core.CodeOf(outer), core.HintOf(outer))
	}
}
