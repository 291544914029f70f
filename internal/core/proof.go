package core

// ProofOutcome is what came of looking at one thing in a drill.
type ProofOutcome string

// The outcomes of proofs.
const (
	ProofOK      ProofOutcome = "ok"
	ProofFailed  ProofOutcome = "failed"  // the drill has failed
	ProofNote    ProofOutcome = "note"    // good to know; nothing failed
	ProofSkipped ProofOutcome = "skipped" // it could not be looked at here; Message says why
)

// Proof is one thing that a drill looked at in a restored copy: a line for
// people and auditors. It holds no secrets.
type Proof struct {
	// Name is lower-case words with dashes, the same in every release: "rows",
	// "administrator", "credentials". Several proofs may share one.
	Name    string       `json:"name"`
	Outcome ProofOutcome `json:"outcome"`
	Object  string       `json:"object,omitempty"` // table, file, credential, page: the exact item
	Message string       `json:"message"`          // what is so, in a sentence without a full stop
	Hint    string       `json:"hint,omitempty"`   // what to type or to do
	Count   int64        `json:"count,omitempty"`  // how many things of the kind were looked at
}
