// Package itflow opens what ITFlow encrypts: the master key, which every agent's
// and API key's password wraps, and the credentials under it. It is for the
// commands and for drills. It promises to take no password for right that is
// not, as far as what is stored can tell, and to put no secret into an error.
package itflow
