// Package itop opens what iTop encrypts with the key of its configuration:
// encrypted fields, and what history keeps of them. It is for the commands and
// for drills. It promises to put no secret into an error.
package itop
