// Package text has all that the console says, in every language that it speaks,
// and writes numbers, sizes and times as people of that language do. It is for
// the pages. It promises that every language has every text.
package text

import (
	"time"
)

// Language is a language that the console speaks. It is safe for concurrent use.
type Language struct {
	Tag string // "en", "de", "fr"
}

// Languages lists what the console speaks, English first.
func Languages() []*Language { return []*Language{{Tag: "en"}} }

// Choose returns the language of that tag, or, when there is none, the best for
// what the browser asks for (Accept-Language), or English.
func Choose(tag, accept string) *Language { return Languages()[0] }

// T returns the text of a key of the catalogue with {0}, {1} … replaced. The
// result is plain text: templates escape it.
func (l *Language) T(key string, args ...any) string { return key }

// N is T for a number of things: the texts are key.one and key.other, and {0}
// is the number.
func (l *Language) N(key string, n int64, args ...any) string { return key }

// Size writes bytes: "1.3 GB" (powers of 1000, three digits).
func (l *Language) Size(n int64) string { return "" }

// Count writes a number with its thousands apart.
func (l *Language) Count(n int64) string { return "" }

// Duration writes how long something took: "2.3 s", "4 min 10 s".
func (l *Language) Duration(d time.Duration) string { return "" }

// Ago writes how long ago t was, or how long it is until then: "3 h ago", "in 2 days".
func (l *Language) Ago(t, now time.Time) string { return "" }

// Time writes a date and time of day to the minute with the zone: "2026-11-23 14:05 CET".
func (l *Language) Time(t time.Time, zone *time.Location) string { return "" }
