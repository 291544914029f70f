package phpconf

import (
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a value.
type Kind int

// The kinds. NotLiteral is a value that only PHP could compute.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Array
	NotLiteral
)

// Value is a PHP value, or a note that it could not be known without running
// PHP. The zero Value is null. Values are immutable as seen from outside.
type Value struct {
	kind   Kind
	bool   bool
	int    int64
	float  float64
	text   string
	array  *array
	source string
	why    string
	line   int
}

// Item is one entry of an array.
type Item struct {
	Key   string // integer keys in decimal
	Value Value
}

type key struct {
	isInt bool
	int   int64
	text  string
}

func (k key) String() string {
	if k.isInt {
		return strconv.FormatInt(k.int, 10)
	}
	return k.text
}

// array keeps the order of insertion, as PHP's does. shared says that more than
// one Value may point to it, so that a write must copy it first.
type array struct {
	index  map[key]int
	keys   []key
	values []Value
	next   int64
	full   bool // the key math.MaxInt64 is used: nothing can be appended
	shared bool
}

func newArray() *array { return &array{index: map[key]int{}} }

func (a *array) set(k key, v Value) {
	if at, ok := a.index[k]; ok {
		a.values[at] = v
		return
	}
	a.index[k] = len(a.keys)
	a.keys = append(a.keys, k)
	a.values = append(a.values, v)
	if k.isInt && k.int >= a.next {
		if k.int == math.MaxInt64 {
			a.full = true
		} else {
			a.next = k.int + 1
		}
	}
}

func (a *array) append(v Value) bool {
	if a.full {
		return false
	}
	a.set(key{isInt: true, int: a.next}, v)
	return true
}

// copy returns an array that may be written to; what it holds is shared.
func (a *array) copy() *array {
	c := &array{index: make(map[key]int, len(a.index)), next: a.next, full: a.full}
	c.keys = append(c.keys, a.keys...)
	c.values = append(c.values, a.values...)
	for i, k := range c.keys {
		c.index[k] = i
		if inner := c.values[i].array; inner != nil {
			inner.shared = true
		}
	}
	return c
}

// arrayKey returns the key that PHP would use for the string s: a decimal
// integer in canonical form is an integer key.
func arrayKey(s string) key {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
		return key{isInt: true, int: n}
	}
	return key{text: s}
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// IsLiteral says whether the value is known. An array is known though some of
// its items may not be.
func (v Value) IsLiteral() bool { return v.kind != NotLiteral }

// Line is the line of the file that gives the value, from 1; 0 when it comes
// from PHP.
func (v Value) Line() int { return v.line }

// Source is the PHP expression that could not be evaluated, "" for a literal.
// It may hold secrets: it is for tests and for the owner's eyes, not for
// messages. Why is for messages.
func (v Value) Source() string { return v.source }

// Why says in a few words, without secrets, why the value is not literal:
// "it calls getenv()".
func (v Value) Why() string { return v.why }

// Text returns the value as PHP converts it to a string: "" for null and
// false, "1" for true. An array or a value that is not literal gives "".
// (There is deliberately no method String: values hold passwords.)
func (v Value) Text() string {
	switch v.kind {
	case Bool:
		if v.bool {
			return "1"
		}
	case Int:
		return strconv.FormatInt(v.int, 10)
	case Float:
		return floatText(v.float)
	case String:
		return v.text
	}
	return ""
}

// Int returns the value as PHP converts it to an integer, where that is not
// guesswork: integers, booleans, null, whole floats and strings that are
// decimal integers, blanks around them allowed.
func (v Value) Int() (int64, bool) {
	switch v.kind {
	case Null:
		return 0, true
	case Bool:
		if v.bool {
			return 1, true
		}
		return 0, true
	case Int:
		return v.int, true
	case Float:
		if v.float == math.Trunc(v.float) && math.Abs(v.float) < 1<<53 {
			return int64(v.float), true
		}
	case String:
		n, err := strconv.ParseInt(strings.Trim(v.text, " \t\n\r\v\f"), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// Bool returns the value as PHP converts it to a boolean: false for null, 0,
// "", "0" and the empty array. A value that is not literal gives false.
func (v Value) Bool() bool {
	switch v.kind {
	case Bool:
		return v.bool
	case Int:
		return v.int != 0
	case Float:
		return v.float != 0
	case String:
		return v.text != "" && v.text != "0"
	case Array:
		return len(v.array.keys) > 0
	}
	return false
}

// Get returns the array's item for a key; integer keys are given in decimal.
// false when there is no such item or the value is no array.
func (v Value) Get(name string) (Value, bool) {
	if v.kind != Array {
		return Value{}, false
	}
	at, ok := v.array.index[arrayKey(name)]
	if !ok {
		return Value{}, false
	}
	return v.array.values[at], true
}

// Items returns the array's items in their order, nil when it is no array.
func (v Value) Items() []Item {
	if v.kind != Array {
		return nil
	}
	items := make([]Item, 0, len(v.array.keys))
	for i, k := range v.array.keys {
		items = append(items, Item{Key: k.String(), Value: v.array.values[i]})
	}
	return items
}

// floatText is PHP's conversion of a float to a string with its default setting
// precision=14: "%.14G", with ".0" before an exponent.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "INF"
	case math.IsInf(f, -1):
		return "-INF"
	case math.IsNaN(f):
		return "NAN"
	case f == 0:
		if math.Signbit(f) {
			return "-0"
		}
		return "0"
	}
	const precision = 14
	digits := strconv.FormatFloat(f, 'e', precision-1, 64)
	mantissa, exponent, _ := strings.Cut(digits, "e")
	exp, err := strconv.Atoi(exponent)
	if err != nil {
		return ""
	}
	if strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	if exp < -4 || exp >= precision {
		return exponential(mantissa, exp)
	}
	_, after, _ := strings.Cut(mantissa, ".")
	return strconv.FormatFloat(f, 'f', max(0, len(after)-exp), 64)
}

func exponential(mantissa string, exp int) string {
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if exp < 0 {
		return mantissa + "E" + strconv.Itoa(exp)
	}
	return mantissa + "E+" + strconv.Itoa(exp)
}
