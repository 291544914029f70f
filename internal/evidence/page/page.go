// Package page makes the pages that reports are printed as: one file that needs
// nothing else, runs nothing, and reads the same in ten years. It is for package
// evidence and those below it. It promises that whatever stands in a name is
// text on the page.
package page

import (
	"bytes"
	_ "embed" // the style
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed page.css
var style string

// New parses a page's template, which can use the functions of Words and the
// template "head", which takes a Head.
func New(name, text string) (*template.Template, error) {
	t, err := template.New(name).Funcs(Words()).Parse(head)
	if err != nil {
		return nil, fmt.Errorf("parse the head of pages: %w", err)
	}
	if t, err = t.Parse(text); err != nil {
		return nil, fmt.Errorf("parse the page %s: %w", name, err)
	}
	return t, nil
}

// Execute fills in a page.
func Execute(t *template.Template, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return b.Bytes(), nil
}

// Head is what a page says of itself.
type Head struct {
	Title string
	What  string    // for machines: "drill ID"
	Time  time.Time // that it was made
}

const head = `{{define "head"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="backstay-what" content="{{.What}}">
<meta name="backstay-time" content="{{rfc3339 .Time}}">
<title>{{.Title}}</title>
<style>{{style}}</style>
</head>{{end}}`

// Words are the functions by which pages and documents say numbers.
func Words() template.FuncMap {
	return template.FuncMap{
		"style":    func() template.CSS { return template.CSS(style) }, // ours, and constant
		"rfc3339":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"when":     when,
		"day":      Day,
		"span":     func(ms int64) string { return Span(time.Duration(ms) * time.Millisecond) },
		"bytes":    Bytes,
		"count":    count,
		"short":    Short,
		"sentence": Sentence,
		"join":     func(list []string) string { return strings.Join(list, ", ") },
	}
}

// when is When for what a page has, which may be a pointer.
func when(t any) (string, error) {
	switch t := t.(type) {
	case time.Time:
		return When(t), nil
	case *time.Time:
		if t == nil {
			return When(time.Time{}), nil
		}
		return When(*t), nil
	}
	return "", fmt.Errorf("%T is no time", t)
}

// When writes a time, in UTC; "never" for the zero time.
func When(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// Day writes a day, in UTC.
func Day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// Span writes a duration by its two largest units: "3 d 4 h", "12.3 s".
func Span(d time.Duration) string {
	if d < 0 {
		return "-" + Span(-d)
	}
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "min")
	}
	return two(d, 24*time.Hour, "d", time.Hour, "h")
}

func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// Bytes writes a size in units of 1024.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for units := "KMGTPE"; value >= 1000 && unit < len(units)-1; unit++ {
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// count is Count for what a page has.
func count(n any) (string, error) {
	switch n := n.(type) {
	case int:
		return Count(int64(n)), nil
	case int64:
		return Count(n), nil
	}
	return "", fmt.Errorf("%T is no number", n)
}

// Count writes a number with blanks between thousands.
func Count(n int64) string {
	if n < 0 {
		return "-" + Count(-n)
	}
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// Short is the beginning of an id that people tell backups apart by.
func Short(id string) string { return id[:min(8, len(id))] }

// Sentence begins a text with a capital letter.
func Sentence(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}
