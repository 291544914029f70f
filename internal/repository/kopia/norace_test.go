//go:build !race

package kopia_test

// raceDetector says that memory is used for more than the work.
const raceDetector = false
