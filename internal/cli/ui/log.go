package ui

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
)

// Logger returns a logger that writes to stderr in the form of the other
// lines: warnings and errors always, informational messages unless --quiet,
// debug messages with --verbose.
func (p *Printer) Logger() *slog.Logger {
	level := slog.LevelInfo
	switch {
	case p.options.Quiet:
		level = slog.LevelWarn
	case p.options.Verbose:
		level = slog.LevelDebug
	}
	return slog.New(&handler{printer: p, level: level})
}

type handler struct {
	printer *Printer
	level   slog.Level
	prefix  string // of groups, with its dot
	attrs   string // written already
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *handler) Handle(_ context.Context, record slog.Record) error {
	var b strings.Builder
	b.WriteString("backstay: ")
	switch {
	case record.Level >= slog.LevelError:
		b.WriteString("error: ")
	case record.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case record.Level < slog.LevelInfo:
		b.WriteString("debug: ")
	}
	b.WriteString(Clean(record.Message))
	b.WriteString(h.attrs)
	record.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.printer.note(b.String())
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	next := *h
	next.attrs += b.String()
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.prefix += name + "."
	return &next
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			writeAttr(b, prefix, member)
		}
		return
	}
	text := Clean(value.String())
	if text == "" || strings.ContainsAny(text, " =\"") {
		text = strconv.Quote(value.String())
		text = Clean(text)
	}
	b.WriteString(" " + Clean(prefix+a.Key) + "=" + text)
}

// JSONLogger returns a logger that writes an object a line to stderr, for
// machines that gather logs.
func (p *Printer) JSONLogger() *slog.Logger {
	level := slog.LevelInfo
	if p.options.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewJSONHandler(noteWriter{p}, &slog.HandlerOptions{Level: level}))
}

// noteWriter writes lines to stderr, as the other notes are.
type noteWriter struct{ p *Printer }

func (w noteWriter) Write(b []byte) (int, error) {
	w.p.note(string(b))
	return len(b), nil
}
