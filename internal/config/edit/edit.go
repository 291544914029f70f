// Package edit changes backstay.yaml as a person would: it keeps comments,
// order and blank lines, shows what would be different, and keeps what was
// there before. It is for the console. It promises that what it writes can be
// read, and that a file that somebody else changed meanwhile is not overwritten.
package edit
