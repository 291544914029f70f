// Package state keeps what backstay did and knows beside its backups: runs,
// alarms, the audit log, what was due and done, and facts about backups that
// checks compare. It is a SQLite database in the state folder, for the commands
// and the service, which may use it at the same time. It promises that losing
// it loses no backup: a database that is damaged is put aside and begun anew,
// and one that is locked or cannot be written is an error that callers report
// and work on without.
package state
