package itflow

import (
	"context"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys"
)

// Judge tries keys on every credential.
type Judge struct {
	keys     []MasterKey
	verdicts []Verdict
}

// NewJudge makes a judge of some keys; without any it says only what no key can
// open.
func NewJudge(candidates ...MasterKey) *Judge {
	return &Judge{keys: candidates, verdicts: make([]Verdict, max(1, len(candidates)))}
}

// Add looks at one value.
func (j *Judge) Add(f Field) {
	for i := range j.verdicts {
		var err error
		if len(j.keys) > 0 {
			_, err = j.keys[i].Open(f.Stored)
		} else if !WellFormed(f.Stored) {
			err = ErrMalformed
		}
		j.verdicts[i].add(f, err)
	}
}

func (v *Verdict) add(f Field, err error) {
	v.Fields++
	if err == nil {
		v.Opened++
		return
	}
	v.Failed++
	if len(v.Failures) < MaxFailures {
		v.Failures = append(v.Failures, Failure{Table: f.Table, ID: f.ID, Column: f.Column, Name: f.Name, Why: err.Error()})
	}
}

// Verdicts returns what came of each key, in their order; of no key, one.
func (j *Judge) Verdicts() []Verdict { return j.verdicts }

// Check tries keys on all credentials that rows gives. Without keys it says
// only what no key can open, and Opened counts what one could.
func Check(ctx context.Context, rows keys.Rows, candidates ...MasterKey) ([]Verdict, error) {
	j := NewJudge(candidates...)
	n, err := Fields(ctx, rows, func(f Field) error { j.Add(f); return nil })
	if err != nil {
		return nil, err
	}
	for i := range j.verdicts {
		j.verdicts[i].Credentials = n
		if j.verdicts[i].Failures == nil {
			j.verdicts[i].Failures = []Failure{}
		}
	}
	return j.verdicts, nil
}

// Found is a master key, and whose password opened it.
type Found struct {
	Key   MasterKey
	Whose []Wrapping // at least one
}

// Refusal is a wrapping that did not open.
type Refusal struct {
	Wrapping Wrapping
	Err      error // ErrWrongPassword, ErrStale, ErrMalformed or ErrNoWrapping
}

// Find tries the password on every wrapping and returns each key that came out
// of any, in the wrappings' order. That none came is no error: the refusals say
// why. Wrappings under one password hold different keys where an installation
// was set up anew over another.
func Find(ctx context.Context, wrappings []Wrapping, password core.Secret) (found []Found, refusals []Refusal, err error) {
	for _, w := range wrappings {
		if err := ctx.Err(); err != nil {
			return nil, nil, context.Cause(ctx)
		}
		key, err := w.Unwrap(password)
		if err != nil {
			refusals = append(refusals, Refusal{w, err})
			continue
		}
		if i := slices.IndexFunc(found, func(f Found) bool { return f.Key.Equal(key) }); i >= 0 {
			found[i].Whose = append(found[i].Whose, w)
			continue
		}
		found = append(found, Found{key, []Wrapping{w}})
	}
	return found, refusals, nil
}
