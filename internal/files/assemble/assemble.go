// Package assemble stores a file tree that comes as a stream of entries from
// elsewhere than a file system: from an archive. It is for the engine, which
// imports archives. It promises that the stored tree is one that capture could
// have stored, and that nothing of it touches the file system.
package assemble
