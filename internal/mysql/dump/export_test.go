package dump

import "github.com/backstay/backstay/internal/mysql/layout"

// For tests in dump_test, which may load what was dumped.

// WithSliceBytes makes slices of about n bytes.
func (o Options) WithSliceBytes(n int64) Options {
	o.sliceBytes = n
	return o
}

// WithAttempts asks n times for a busy lock.
func (o Options) WithAttempts(n int) Options {
	o.attempts = n
	return o
}

var FileName = layout.FileName
