package chrome

import (
	"bytes"
	"sync"
)

// output keeps the end of what the browser says.
type output struct {
	mu   sync.Mutex
	said []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, b...)
	if drop := len(o.said) - 4000; drop > 0 {
		o.said = append([]byte(nil), o.said[drop:]...)
	}
	return len(b), nil
}

func (o *output) end() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.said)
}
