package archives

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/mysql/sqlload"
)

// TestSalvageFlaws: each is said once and says where it is.
func TestSalvageFlaws(t *testing.T) {
	got := salvageFlaws([]archive.Flaw{
		{Where: "the dump", Message: "ends too early"}, {Where: "the dump", Message: "its end is missing"}, {Where: "line 3 of the dump", Message: "no such statement"},
	}, []sqlload.Flaw{
		{Object: "table a", Message: "ends too early"}, {Line: 3, Message: "no such statement"}, {Message: "gone"}, {Object: "table b", Line: 9, Message: "a row is refused"},
		{Object: "table b", Line: 9, Message: "a row is refused"},
	})
	want := []archive.Flaw{
		{Where: "table a", Message: "ends too early"}, {Where: "line 3 of the dump", Message: "no such statement"}, {Where: "the dump", Message: "gone"},
		{Where: "table b (line 9)", Message: "a row is refused"}, {Where: "the dump", Message: "its end is missing"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if salvageFlaws(nil, nil) == nil {
		t.Error("no flaws are null in JSON")
	}
}
