package process

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// What is kept of what a process says.
const (
	MaxLine   = 8 << 10 // bytes of a line of its log
	MaxLines  = 20_000  // of its log; the rest is counted
	MaxResult = 1 << 20 // bytes of its result
	keptLines = 20      // the last of a run that failed, for its message
)

// Limited keeps the first MaxResult bytes.
type Limited struct {
	mu   sync.Mutex
	kept bytes.Buffer
	cut  bool
}

// Write never fails.
func (l *Limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := MaxResult - l.kept.Len(); room < len(p) {
		l.cut = true
		l.kept.Write(p[:max(room, 0)])
	} else {
		l.kept.Write(p)
	}
	return len(p), nil
}

// Result returns what was written, nil when it was too much.
func (l *Limited) Result() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil
	}
	return l.kept.Bytes()
}

// Lines puts what a process says into the log, line by line and bounded: it
// neither keeps a flood nor passes it on.
type Lines struct {
	log *slog.Logger

	mu      sync.Mutex
	part    []byte // of a line that has not ended
	skip    bool   // the rest of a line that was too long
	lines   int
	dropped int
	recent  []string
}

// NewLines returns one that writes into log.
func NewLines(log *slog.Logger) *Lines { return &Lines{log: log} }

// Write never fails.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !l.skip {
			l.part = append(l.part, line[:min(len(line), MaxLine-len(l.part))]...)
			if len(l.part) == MaxLine {
				l.say()
				l.skip = true
			}
		}
		if whole {
			if !l.skip {
				l.say()
			}
			l.skip = false
		}
	}
	return n, nil
}

// say logs the line that is complete.
func (l *Lines) say() {
	text := strings.TrimRight(strings.ToValidUTF8(string(l.part), "�"), " \r")
	l.part = l.part[:0]
	if text == "" {
		return
	}
	if l.recent = append(l.recent, text); len(l.recent) > keptLines {
		l.recent = l.recent[1:]
	}
	if l.lines++; l.lines > MaxLines {
		l.dropped++
		return
	}
	// The prefix is the service's own too.
	rest := strings.TrimPrefix(text, "backstay: ")
	switch {
	case strings.HasPrefix(rest, "error: "):
		l.log.Error(strings.TrimPrefix(rest, "error: "))
	case strings.HasPrefix(rest, "warning: "):
		l.log.Warn(strings.TrimPrefix(rest, "warning: "))
	default:
		l.log.Info(rest)
	}
}

// Flush logs the last line, when it has not ended.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.skip {
		l.say()
	}
	if l.dropped > 0 {
		l.log.Warn("the run said more than is kept", "lines", l.lines, "left_out", l.dropped)
		l.dropped = 0
	}
}

// Last returns the last line, the error if there is one among the last.
func (l *Lines) Last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.recent) - 1; i >= 0; i-- {
		if text, ok := strings.CutPrefix(l.recent[i], "backstay: error: "); ok {
			return Short(text)
		}
	}
	if len(l.recent) == 0 {
		return ""
	}
	return Short(l.recent[len(l.recent)-1])
}

// Short cuts a line to what a message can hold.
func Short(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

var _ io.Writer = (*Lines)(nil)
