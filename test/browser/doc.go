// Package browser shows that people can use the console: real Chromium, the
// real service, a real database. It is for the project's own tests. It promises
// pictures of what was seen.
package browser
