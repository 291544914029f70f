package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error for scripts. It decides the exit code and stands in
// the JSON form of an error.
type Code string

// The codes, with the exit code each leads to.
const (
	CodeFailed       Code = "failed"        // 1: anything that has no code of its own
	CodeConfig       Code = "config"        // 1: backstay.yaml is missing or wrong
	CodeDatabase     Code = "database"      // 1: the database refused or went away
	CodeApplication  Code = "application"   // 1: the application was not found or not understood
	CodeNotFound     Code = "not_found"     // 1: no such backup, path or table
	CodeAmbiguous    Code = "ambiguous"     // 1: more than one backup fits
	CodeDisk         Code = "disk"          // 1: disk full, read-only, unreadable
	CodeUnsupported  Code = "unsupported"   // 1: not built (yet)
	CodeNotPortable  Code = "not_portable"  // 1: the server to restore on cannot take an object of the backup; nothing was changed
	CodeDecision     Code = "decision"      // 1: somebody must agree to a finding first (--force NAME); nothing was changed
	CodeUnfinished   Code = "unfinished"    // 1: a restore was cut short (backstay restore --resume APP)
	CodeWarnings     Code = "warnings"      // 3: finished, with warnings or in part
	CodeDamage       Code = "damage"        // 4: stored data is damaged or missing, or a restored copy differs
	CodeNoRepository Code = "no_repository" // 10
	CodeLocked       Code = "locked"        // 11: another operation holds the lock
	CodeWrongKey     Code = "wrong_key"     // 12
	CodeUsage        Code = "usage"         // 64
	CodeCancelled    Code = "cancelled"     // 130
)

// ExitCode returns the process exit code for c.
func (c Code) ExitCode() int {
	switch c {
	case CodeWarnings:
		return 3
	case CodeDamage:
		return 4
	case CodeNoRepository:
		return 10
	case CodeLocked:
		return 11
	case CodeWrongKey:
		return 12
	case CodeUsage:
		return 64
	case CodeCancelled:
		return 130
	default:
		return 1
	}
}

// Error is an error that a person can act on: what happened, to which object,
// and what to type next. Message and Hint hold no secrets.
type Error struct {
	Code    Code
	Op      string // what was being done: "dump table tickets"
	Message string // what happened, lower case, no full stop
	Hint    string // what to do or type next; may be empty
	Err     error  // the cause; may be nil
}

// Error returns "op: message: cause", leaving out what is empty, and an op with
// which the cause begins.
func (e *Error) Error() string {
	s := e.Message
	if e.Err != nil {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	if e.Op != "" && !strings.HasPrefix(s, e.Op+": ") {
		s = e.Op + ": " + s
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the outermost Error in err's chain, CodeCancelled
// for a cancelled context, CodeFailed for any other error, and "" for nil.
// Cancellation wins: whatever a cancelled operation complains of, it was
// cancelled.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if errors.Is(err, context.Canceled) {
		return CodeCancelled
	}
	var e *Error
	if errors.As(err, &e) && e.Code != "" {
		return e.Code
	}
	return CodeFailed
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Warning is something that a finished operation wants known: a file that
// vanished, a trigger that could not be read. A backup with warnings is listed
// with them and ends with exit code 3.
type Warning struct {
	Code    string `json:"code"`             // "unreadable", "changed", "vanished", "skipped", …
	Object  string `json:"object,omitempty"` // the path, table or object it is about
	Message string `json:"message"`
}

// String returns "object: message".
func (w Warning) String() string {
	if w.Object == "" {
		return w.Message
	}
	return fmt.Sprintf("%s: %s", w.Object, w.Message)
}
