// Package agenda keeps to schedules: it says at each moment which jobs are to
// begin, which were missed, and when to look again. It is for the service,
// which hands it the time. It reads no clock and starts nothing. It promises
// that a due time leads to one run at most, that what was missed while the
// machine slept or nothing ran is caught up once, and that a clock that jumps,
// in either direction, neither repeats runs nor puts them off for longer than
// its correction.
package agenda
