package files

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestUnknownOwners(t *testing.T) {
	got := UnknownOwners(core.Owners{
		Users:  map[string]string{"0": "toor", "2": "no-such-user", "4000000": "it's me", "33": "root", "7": ""},
		Groups: map[string]string{"1": "no-such-group"},
	})
	want := []UnknownOwner{
		{Kind: "user", Name: "no-such-user", ID: 2, Here: "bin"},
		{Kind: "user", Name: "it's me", ID: 4000000},
		{Kind: "group", Name: "no-such-group", ID: 1, Here: "daemon"},
	}
	if len(got) == 3 && (got[0].Here != "bin" || got[2].Here != "daemon") {
		t.Skip("this machine calls the users 1 and 2 otherwise")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff("find /var/www '/srv/a b' -xdev -uid 4000000 -exec chown -h 'it'\\''s me' {} +", got[1].Command([]string{"/var/www", "/srv/a b"})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("there is no group no-such-group here: what belonged to it gets the number 1, which is group daemon here; make the group first, or change it afterwards", got[2].String()); diff != "" {
		t.Error(diff)
	}
	if got[0].Command(nil) != "" {
		t.Error("a command without folders")
	}
}
