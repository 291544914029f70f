package core

// Finding is something that was looked at before a restore: whether it can be
// done here, and what that will mean.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Name is what `--force` takes: lower-case words with dashes, the same in
	// every release. Several findings may share one.
	Name    string `json:"name"`
	Object  string `json:"object,omitempty"` // table, file, setting, …
	Message string `json:"message"`          // what is so, in a sentence without a full stop
	Hint    string `json:"hint,omitempty"`   // what to type or to do
}

// FindingKind says what a finding means for the restore.
type FindingKind string

// The kinds of findings, from harmless to final.
const (
	FindingFine       FindingKind = "fine"       // looked at, and nothing is in the way; or good to know
	FindingRewrite    FindingKind = "rewrite"    // will be changed so that it works here
	FindingDecision   FindingKind = "decision"   // somebody must agree to it: --force NAME
	FindingImpossible FindingKind = "impossible" // the restore cannot be done
)
