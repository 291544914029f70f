package state

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// TestAdoptRun: a run that one process recorded is another's from when it says so.
func TestAdoptRun(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	other := exec.Command("sleep", "60")
	ok(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	want := core.Run{App: "wiki", Kind: core.RunRestore, Trigger: "manual", Started: clock.now, By: "anna", Backup: "b1", Outcome: core.OutcomeRunning}
	id, err := db.BeginRunFor(t.Context(), want, other.Process.Pid)
	ok(t, err)
	want.ID = id
	pid, err := db.Process(t.Context(), id)
	ok(t, err)
	same(t, other.Process.Pid, pid)

	got, err := db.AdoptRun(t.Context(), id)
	ok(t, err)
	same(t, want, got)
	pid, err = db.Process(t.Context(), id)
	ok(t, err)
	same(t, os.Getpid(), pid)
	ok(t, other.Process.Kill())
	_ = other.Wait() // it was killed
	swept, err := db.Sweep(t.Context())
	ok(t, err)
	if len(swept) != 0 {
		t.Errorf("swept %v", swept)
	}
	found, err := db.Run(t.Context(), id)
	ok(t, err)
	same(t, &want, found)

	done := want
	done.Outcome = core.OutcomeOK
	ok(t, db.FinishRun(t.Context(), done))
	for _, id := range []int64{id, id + 1, -1, 1 << 41} {
		if _, err := db.AdoptRun(t.Context(), id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("took over run %d: %v", id, err)
		}
		if _, err := db.Process(t.Context(), id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("found the process of run %d: %v", id, err)
		}
		if err := db.AskRun(t.Context(), id, "no"); core.CodeOf(err) != core.CodeNotFound || core.HintOf(err) == "" {
			t.Errorf("asked run %d: %v", id, err)
		}
	}
	if none, err := db.Run(t.Context(), id+1); none != nil || err != nil {
		t.Errorf("%v %v", none, err)
	}
}

// TestRunThatIsNotAdopted ends with the process that recorded it.
func TestRunThatIsNotAdopted(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	gone := exec.Command("true")
	ok(t, gone.Run())
	id, err := db.BeginRunFor(t.Context(), backup("wiki", clock.now), gone.Process.Pid)
	ok(t, err)
	if _, err := db.Process(t.Context(), id); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("there is a process: %v", err)
	}
	swept, err := db.Sweep(t.Context())
	ok(t, err)
	if len(swept) != 1 || swept[0].ID != id {
		t.Errorf("swept %v", swept)
	}
}

// TestProcessIsTheSame: a process that has the number of one that is gone is not
// that one, and one that cannot be told apart is nobody's.
func TestProcessIsTheSame(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	here := processOf(os.Getpid())
	for name, c := range map[string]struct {
		process process
		code    core.Code
	}{
		"it":                 {here, ""},
		"another start":      {process{here.boot, here.space, "1"}, core.CodeNotFound},
		"another boot":       {process{"b", here.space, here.start}, core.CodeNotFound},
		"another container":  {process{here.boot, "pid:[1]", here.start}, core.CodeUnsupported},
		"start is not known": {process{here.boot, here.space, "-"}, core.CodeUnsupported},
	} {
		id, err := db.BeginRun(t.Context(), backup("wiki", clock.now))
		ok(t, err)
		_, err = db.pool.ExecContext(t.Context(), "UPDATE runs SET process = ? WHERE id = ?", c.process.String(), id)
		ok(t, err)
		pid, err := db.Process(t.Context(), id)
		if core.CodeOf(err) != c.code || err == nil && pid != os.Getpid() {
			t.Errorf("%s: %d, %v", name, pid, err)
		}
	}
}

// TestWhoCancelled: it is in the record of a run that was cancelled, whoever
// records that, and nothing of its own message is lost.
func TestWhoCancelled(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	for i, c := range []struct {
		outcome       core.Outcome
		message, want string
	}{
		{core.OutcomeCancelled, "back up: cancelled", "cancelled by anna: back up: cancelled"},
		{core.OutcomeCancelled, "", "cancelled by anna"},
		{core.OutcomeCancelled, "cancelled by anna, and it did not end", "cancelled by anna, and it did not end"},
		{core.OutcomeFailed, "the disk is full", "the disk is full"},
		{core.OutcomeOK, "", ""},
	} {
		r := backup("wiki", clock.now.Add(time.Duration(i)*time.Hour))
		var err error
		r.ID, err = db.BeginRun(t.Context(), r)
		ok(t, err)
		ok(t, db.AskRun(t.Context(), r.ID, "cancelled by anna"))
		ok(t, db.AskRun(t.Context(), r.ID, "cancelled by bert")) // who was second
		running, err := db.Run(t.Context(), r.ID)
		ok(t, err)
		same(t, "cancelled by anna", running.Message)
		r.Outcome, r.Message = c.outcome, c.message
		ok(t, db.FinishRun(t.Context(), r))
		got, err := db.Run(t.Context(), r.ID)
		ok(t, err)
		same(t, c.want, got.Message)
	}
	id, err := db.BeginRun(t.Context(), backup("docs", clock.now))
	ok(t, err)
	ok(t, db.AskRun(t.Context(), id, "cancelled by anna"))
	n, err := db.AbandonRun(t.Context(), os.Getpid(), core.OutcomeCancelled, "it was killed", "")
	ok(t, err)
	got, err := db.Run(t.Context(), id)
	ok(t, err)
	if n != 1 || got.Message != "cancelled by anna: it was killed" {
		t.Errorf("%d %q", n, got.Message)
	}
}

// TestDescribeRun: what a run is about may become known only when it goes on.
func TestDescribeRun(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	r := core.Run{Kind: core.RunVerify, Trigger: "manual", Started: clock.now, By: "root"}
	var err error
	r.ID, err = db.BeginRun(t.Context(), r)
	ok(t, err)
	ok(t, db.DescribeRun(t.Context(), r.ID, "wiki", "b1"))
	got, err := db.Run(t.Context(), r.ID)
	ok(t, err)
	same(t, "wiki b1 running", fmt.Sprint(got.App, " ", got.Backup, " ", got.Outcome))
	r.App, r.Backup, r.Outcome = "wiki", "b2", core.OutcomeOK
	ok(t, db.FinishRun(t.Context(), r))
	ok(t, db.DescribeRun(t.Context(), r.ID, "docs", "b3"))
	got, err = db.Run(t.Context(), r.ID)
	ok(t, err)
	same(t, "wiki b2 ok", fmt.Sprint(got.App, " ", got.Backup, " ", got.Outcome))
}

// TestParts: lists are read in parts, without what is not asked for.
func TestParts(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	kinds := []string{core.RunBackup, core.RunCheck, core.RunUndo, core.RunExport, core.RunImport, core.RunPlan, core.RunNotify, core.RunVerify, core.RunRestore}
	for i, kind := range kinds {
		_, err := db.AddRun(t.Context(), core.Run{Kind: kind, Started: clock.now.Add(time.Duration(i) * time.Minute), Outcome: core.OutcomeOK})
		ok(t, err)
		ok(t, db.Audit(t.Context(), core.Audited{Who: []string{"anna", "bert"}[i%2], Action: kind}))
	}
	for _, c := range []struct {
		filter RunFilter
		want   string
	}{
		{RunFilter{Limit: 2}, "restore verify"}, {RunFilter{Limit: 2, Offset: 1}, "verify notify-test"}, {RunFilter{Offset: 7}, "check backup"}, {RunFilter{Offset: 9}, ""},
		{RunFilter{Offset: -1, Limit: 1}, "restore"},
		{RunFilter{ExceptKinds: []string{core.RunCheck, core.RunPlan}, Offset: 3}, "import export undo backup"},
		{RunFilter{Kind: core.RunUndo, ExceptKinds: []string{core.RunUndo}}, ""},
	} {
		found, err := db.Runs(t.Context(), c.filter)
		ok(t, err)
		var got []string
		for _, r := range found {
			got = append(got, r.Kind)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%+v: %s", c.filter, diff)
		}
	}
	for _, c := range []struct {
		filter AuditFilter
		want   string
	}{
		{AuditFilter{Who: "bert", Limit: 2, Offset: 1}, "plan export"}, {AuditFilter{Who: "anna", Offset: 3}, "undo backup"}, {AuditFilter{Who: "nobody"}, ""},
	} {
		found, err := db.AuditLog(t.Context(), c.filter)
		ok(t, err)
		var got []string
		for _, a := range found {
			got = append(got, a.Action)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%+v: %s", c.filter, diff)
		}
	}
}

// TestTrimOfAllKinds: each kind of run has its own newest ones.
func TestTrimOfAllKinds(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	old := clock.now.Add(-500 * day)
	kinds := []string{core.RunUndo, core.RunExport, core.RunImport, core.RunPlan, core.RunNotify, core.RunVerify, core.RunRestore, core.RunPrune}
	for _, kind := range kinds {
		for i := range runsFew + 2 {
			_, err := db.AddRun(t.Context(), core.Run{App: "wiki", Kind: kind, Started: old.Add(time.Duration(i) * time.Second), Outcome: core.OutcomeOK})
			ok(t, err)
		}
	}
	ok(t, db.Trim(t.Context(), clock.now))
	for _, kind := range kinds {
		found, err := db.Runs(t.Context(), RunFilter{Kind: kind})
		ok(t, err)
		if len(found) != runsFew {
			t.Errorf("%s: %d", kind, len(found))
		}
	}
}
