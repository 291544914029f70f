// Package text has all that the console says, in every language that it speaks,
// and writes numbers, sizes and times as people of that language do. It is for
// the pages. It promises that every language has every text.
package text

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The catalogue is one file for each area of the console and language,
// "area.tag.json": an object of texts by their key. {0}, {1} … stand for values.
//
//go:embed catalogue/*.json
var catalogue embed.FS

// Language is a language that the console speaks. It is safe for concurrent use.
type Language struct {
	Tag   string // "en", "de", "fr"
	Name  string // of itself: "Deutsch"
	texts map[string]string
	style style
}

// read is what the program was built with: it cannot change, and a mistake in
// it is one of the program.
var read = sync.OnceValue(func() []*Language {
	languages, err := load(catalogue)
	if err != nil {
		panic(err)
	}
	return languages
})

// Languages lists what the console speaks, English first.
func Languages() []*Language { return slices.Clone(read()) }

// load reads the languages from files, whose folder is "catalogue".
func load(files fs.FS) ([]*Language, error) {
	languages := []*Language{
		{Tag: "en", Name: "English", style: english()},
		{Tag: "de", Name: "Deutsch", style: german()},
		{Tag: "fr", Name: "Français", style: french()},
	}
	for _, l := range languages {
		l.texts = map[string]string{}
		names, err := fs.Glob(files, "catalogue/*."+l.Tag+".json")
		if err != nil {
			return nil, fmt.Errorf("list the texts in %s: %w", l.Name, err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			texts := map[string]string{}
			if err := json.Unmarshal(content, &texts); err != nil {
				return nil, fmt.Errorf("read %s: %w", path.Base(name), err)
			}
			for key, text := range texts {
				if _, twice := l.texts[key]; twice {
					return nil, fmt.Errorf("read %s: another file has %q too", path.Base(name), key)
				}
				l.texts[key] = text
			}
		}
	}
	return languages, nil
}

// Choose returns the language of that tag, or, when there is none, the best for
// what the browser asks for (Accept-Language), or English.
func Choose(tag, accept string) *Language {
	languages := read()
	of := func(tag string) *Language {
		first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		for _, l := range languages {
			if l.Tag == first {
				return l
			}
		}
		return nil
	}
	if l := of(tag); l != nil {
		return l
	}
	var best *Language
	most := 0.0
	for i, wish := range strings.Split(accept, ",") {
		if i == 20 {
			break // nobody speaks more
		}
		tag, parameter, _ := strings.Cut(wish, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			parsed, err := strconv.ParseFloat(q, 64)
			if err != nil {
				continue
			}
			weight = parsed
		}
		if l := of(tag); l != nil && weight > most {
			best, most = l, weight
		}
	}
	if best != nil {
		return best
	}
	return languages[0]
}

// T returns the text of a key of the catalogue with {0}, {1} … replaced. The
// result is plain text: templates escape it. A key that there is no text of is
// returned as it is.
func (l *Language) T(key string, args ...any) string {
	return fill(l.text(key), args)
}

// N is T for a number of things: the texts are key.one and key.other, and {0}
// is the number.
func (l *Language) N(key string, n int64, args ...any) string {
	form := ".other"
	if l.style.one(n) {
		form = ".one"
	}
	return fill(l.text(key+form), append([]any{l.Count(n)}, args...))
}

// Has says whether there is a text of that key.
func (l *Language) Has(key string) bool {
	_, ok := l.texts[key]
	return ok
}

func (l *Language) text(key string) string {
	if text, ok := l.texts[key]; ok {
		return text
	}
	if text, ok := read()[0].texts[key]; ok {
		return text
	}
	return key
}

// fill replaces {0}, {1} … What a value has of braces stays.
func fill(text string, args []any) string {
	if len(args) == 0 || !strings.Contains(text, "{") {
		return text
	}
	pairs := make([]string, 0, 2*len(args))
	for i, arg := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", fmt.Sprint(arg))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
