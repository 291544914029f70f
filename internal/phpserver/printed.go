package phpserver

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

const (
	keptBytes = 64 << 10 // of what PHP printed
	lineBytes = 4 << 10  // of one line
)

// printed keeps the end of what PHP prints, however much that is. It is safe
// for use by several goroutines.
type printed struct {
	mu     sync.Mutex
	rest   []byte // of a line that has not ended
	lines  []string
	size   int
	cut    bool          // lines were dropped
	serves chan struct{} // closed when PHP says that it serves
	served bool
}

func newPrinted() *printed { return &printed{serves: make(chan struct{})} }

// passing are the lines that PHP prints for every request. An answer of 500 and
// above stays.
var passing = regexp.MustCompile(`\] \S+:\d+ (Accepted|Closing|Closed without sending a request.*|\[[1-4]\d\d\]: .*)$`)

// Write never fails.
func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		p.rest = append(p.rest, line[:min(len(line), lineBytes-len(p.rest))]...)
		if ended {
			p.keep(strings.TrimRight(string(p.rest), "\r"))
			p.rest = p.rest[:0]
		}
		rest = after
	}
	return len(b), nil
}

func (p *printed) keep(line string) {
	// PHP prints this when it listens, and not before; each of its workers does.
	if strings.Contains(line, " Development Server (http://") {
		if !p.served {
			p.served = true
			close(p.serves)
		}
		return
	}
	if line == "" || passing.MatchString(line) {
		return
	}
	p.lines = append(p.lines, line)
	p.size += len(line) + 1
	for p.size > keptBytes {
		p.size -= len(p.lines[0]) + 1
		p.lines, p.cut = p.lines[1:], true
	}
}

// String is what was kept.
func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	if p.cut {
		b.WriteString("…\n")
	}
	for _, line := range p.lines {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	b.Write(p.rest)
	return strings.TrimRight(b.String(), "\n")
}

// last are a few lines for an error.
func (p *printed) last() string {
	lines := strings.Split(p.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
