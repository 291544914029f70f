// Package operation does what has to be done around a backup for nobody to have
// to look after it: it records the run, checks the result, applies retention,
// and opens, updates and closes alarms. It is for the commands and the service,
// which share it. It promises that whatever fails around a backup takes nothing
// from the backup, and is reported.
package operation
