package strict

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxDuration is ten years.
const maxDuration = 10 * 366 * 24 * time.Hour

var duration = regexp.MustCompile(`^(?:0|(?:[0-9]{1,6}[wdhm])+)$`)

var durationPart = regexp.MustCompile(`([0-9]+)([wdhm])`)

// ParseDuration reads weeks, days, hours and minutes: "7d", "1w2d12h"; a day has
// 24 hours.
func ParseDuration(s string) (d time.Duration, wrong, hint string) {
	if !duration.MatchString(s) {
		return 0, fmt.Sprintf("cannot be %q", Shown(s)), "write a number with w, d, h or m: 7d, 36h, 1w2d; or 0"
	}
	units := map[string]time.Duration{"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "m": time.Minute}
	for _, part := range durationPart.FindAllStringSubmatch(s, -1) {
		n, err := strconv.Atoi(part[1])
		if err != nil || n > int(maxDuration/time.Minute) || time.Duration(n) > (maxDuration-d)/units[part[2]] {
			return 0, fmt.Sprintf("cannot be %q", Shown(s)), "ten years are the most"
		}
		d += time.Duration(n) * units[part[2]]
	}
	return d, "", ""
}

// DurationField is a length of time as ParseDuration reads it; the number 0 is
// none.
func DurationField(key string, into *time.Duration) Field {
	f := ScalarField(key, func(s string) (wrong, hint string) {
		d, wrong, hint := ParseDuration(s) // which refuses a number without a unit, but for 0
		if wrong == "" {
			*into = d
		}
		return wrong, hint
	})
	f.Schema = map[string]any{"type": []string{"string", "integer"}, "pattern": duration.String(), "minimum": 0, "maximum": 0}
	return f
}

// ScalarField is a text or a number, which parse is given as it is written and
// keeps where nothing is wrong with it.
func ScalarField(key string, parse func(string) (wrong, hint string)) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": []string{"string", "number"}},
		Read: func(r *Reader, _ Position, n ast.Node) {
			v := r.Resolve(n)
			if v == nil {
				return
			}
			s := ""
			switch v.(type) {
			case *ast.IntegerNode, *ast.FloatNode:
				s = strings.ReplaceAll(v.GetToken().Value, "_", "")
			default:
				text, ok := r.Text(v, key)
				if !ok {
					return
				}
				s = text
			}
			if wrong, hint := parse(s); wrong != "" {
				r.Problem(PositionOf(n.GetToken()), hint, "%q %s", key, wrong)
			}
		},
	}
}

var size = regexp.MustCompile(`^([0-9]{1,18})\s?(|B|[kK]B|[MGT]B|[KMGT]iB)$`)

// ParseSize reads a number of bytes, with a unit or without: "500GB", "1TiB".
func ParseSize(s string) (n int64, wrong, hint string) {
	m := size.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Sprintf("cannot be %q", Shown(s)), "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB: 500GB, 1TiB"
	}
	unit := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	switch {
	case err != nil || n > math.MaxInt64/4/unit: // room to count beyond it
		return 0, fmt.Sprintf("cannot be %q", Shown(s)), "two exbibytes are the most"
	case n == 0:
		return 0, "cannot be 0", "nothing fits into that; remove the key for what holds by itself"
	}
	return n * unit, "", ""
}

// SizeField is a number of bytes, or one with a unit.
func SizeField(key string, into *int64) Field {
	f := ScalarField(key, func(s string) (wrong, hint string) {
		n, wrong, hint := ParseSize(s)
		if wrong == "" {
			*into = n
		}
		return wrong, hint
	})
	f.Schema = map[string]any{"type": []string{"string", "integer"}, "pattern": size.String(), "minimum": 1}
	return f
}

// CountField is a whole number of things from 1.
func CountField(key string, into *int64, high int) Field {
	f := NumberField(key, nil, 1, high)
	f.Read = func(r *Reader, _ Position, n ast.Node) {
		if v, ok := r.Number(n, key, 1, high); ok {
			*into = int64(v)
		}
	}
	return f
}
