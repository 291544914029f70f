package evidence

import "errors"

// Store keeps reports and the installation's key, in STATE_DIR/evidence: KEY is
// instance.key (Ed25519, PEM, its owner's only) with instance.pub beside it; a
// drill is drills/ID.json, drills/ID.html, and the signatures ID.json.sig and
// ID.html.sig (docs/spec/evidence.md).
type Store struct{ Dir string }

// Save signs a drill's report and writes it, durably: a report that is there is
// whole. It makes the installation's key when there is none yet.
func (s Store) Save(d Drill) error { return errors.New("not built yet") }

// Drills returns the reports of an app, or of all when app is "", oldest first.
// A report that is not as it was signed is not in it, and is named by the error,
// which has core.CodeDamage and comes with the others.
func (s Store) Drills(app string) ([]Drill, error) { return nil, errors.New("not built yet") }
