package recovery

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPlanIsReadWhole holds what is read of plans against what the command
// prints: a field that nothing here shows would be a change that nobody sees.
func TestPlanIsReadWhole(t *testing.T) {
	for _, name := range []string{"plan.json", "plan-refused.json"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var strict struct {
			Schema int   `json:"schema"`
			Plan   *plan `json:"plan"`
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&strict); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		read, err := readPlan(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strict.Plan, read); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var printed struct{ Plan map[string]json.RawMessage }
		if err := json.Unmarshal(text, &printed); err != nil {
			t.Fatal(err)
		}
		if len(printed.Plan) != 15 {
			t.Errorf("%s: the plan has %d fields", name, len(printed.Plan))
		}
	}
	for _, broken := range []string{"", "null", "{}", `{"error":{"code":"x"}}`} {
		if p, err := readPlan(json.RawMessage(broken)); p != nil || err != nil {
			t.Errorf("%q: %v, %v", broken, p, err)
		}
	}
	if _, err := readPlan(json.RawMessage(`{"plan":{"steps":"x"}}`)); err == nil {
		t.Error("a plan of another kind is read")
	}
}
