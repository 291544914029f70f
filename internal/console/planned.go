package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/backstay/backstay/internal/core"
)

// plannedPath is the file of the order that a plan is for: a plan does not say
// what was asked for.
func (c *Console) plannedPath(run int64) string {
	return c.resultPath(strconv.FormatInt(run, 10) + ".order")
}

// keepPlanned keeps the order of a plan for Planned.
func (c *Console) keepPlanned(run int64, o RestoreOrder) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("keep what is planned: %w", err)
	}
	path := c.plannedPath(run)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep what is planned: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("keep what is planned: %w", err)
	}
	return nil
}

// Planned is the order that the plan of a run is for. CodeNotFound when the run
// was not started by StartPlan, or is long over.
func (c *Console) Planned(_ context.Context, run int64) (RestoreOrder, error) {
	text, err := os.ReadFile(c.plannedPath(run))
	if errors.Is(err, fs.ErrNotExist) {
		return RestoreOrder{}, &core.Error{Code: core.CodeNotFound, Op: "find plan", Message: fmt.Sprintf("run %d is no plan from here", run), Hint: "choose again what to restore"}
	}
	var o RestoreOrder
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return RestoreOrder{}, fmt.Errorf("read what is planned: %w", err)
	}
	return o, nil
}
