package dump

import "time"

// WithPatience takes a server for hung after d without an answer.
func (o Options) WithPatience(d time.Duration) Options {
	o.patience = d
	return o
}
