package portable

import (
	"regexp"
	"strings"
)

// choice is a collation that may stand in for one that the target lacks.
type choice struct {
	name string
	why  string
	// coarser says that it may take values for equal that were different, so
	// that a unique key on them could fail.
	coarser bool
}

// The languages of MySQL's 0900 collations and what MariaDB calls them. Those
// that MariaDB has no tailoring for take the order without a language.
var languages = map[string]string{
	"cs": "czech", "da": "danish", "de_pb": "german2", "eo": "esperanto", "es": "spanish", "es_trad": "spanish2", "et": "estonian",
	"hr": "croatian", "hu": "hungarian", "is": "icelandic", "la": "roman", "lt": "lithuanian", "lv": "latvian", "pl": "polish",
	"ro": "romanian", "sk": "slovak", "sl": "slovenian", "sv": "swedish", "tr": "turkish", "vi": "vietnamese",
}

func languageCode(language string) string {
	for code, l := range languages {
		if l == language {
			return code
		}
	}
	return ""
}

var (
	uca0900 = regexp.MustCompile(`^utf8mb4_(?:([a-z_]+)_)?0900_(bin|ai_ci|as_ci|as_cs|as_cs_ks)$`)
	uca1400 = regexp.MustCompile(`^(?:(utf8mb3|utf8mb4|ucs2|utf16|utf16le|utf32)_)?uca1400_(?:([a-z0-9]+?)_)?(nopad_)?(ai|as)_(ci|cs)$`)
	noPad   = regexp.MustCompile(`^([a-z0-9]+)_(?:(.+)_)?nopad_(ci|bin)$`)
)

const (
	newer      = "the target orders by another version of Unicode; both treat the same characters as equal, but for rare ones"
	noLanguage = "the target has no order for this language"
	noAccents  = "the target has no order that lets accents count but neither case nor trailing spaces"
	padded     = "the target lets trailing spaces not count"
	binary     = "the target has no such order for this character set; the binary one tells more apart"
	renamed    = "another name of the same"
)

// nearest returns what may stand in for a collation, best first. Whether
// trailing spaces count comes before all else: keys and foreign keys rest on it.
// Equal collations give way to equal ones, which foreign keys demand.
func nearest(collation string) []choice {
	c := strings.ToLower(collation)
	switch {
	case strings.HasPrefix(c, "utf8_"):
		exact := "utf8mb3_" + c[len("utf8_"):]
		return append([]choice{{name: exact, why: renamed}}, nearest(exact)...)
	case uca0900.MatchString(c):
		m := uca0900.FindStringSubmatch(c)
		return nearest0900(m[1], m[2])
	case uca1400.MatchString(c):
		m := uca1400.FindStringSubmatch(c)
		if m[1] == "" {
			// A name without a character set takes that of what it stands by,
			// which is utf8mb4 nearly always.
			m[1] = "utf8mb4"
		}
		if m[2] == "nopad" { // which is no language
			m[2], m[3] = "", "nopad_"
		}
		return nearest1400(m[1], m[2], m[3] != "", m[4], m[5])
	case noPad.MatchString(c):
		m := noPad.FindStringSubmatch(c)
		return nearestNoPad(m[1], m[2], m[3])
	}
	var out []choice
	if rest, ok := strings.CutPrefix(c, "utf8mb3_"); ok {
		out = append(out, choice{name: "utf8_" + rest, why: renamed})
	}
	charset, _, _ := strings.Cut(c, "_")
	switch strings.TrimPrefix(c, charset+"_") {
	case "croatian_mysql561_ci":
		out = append(out, choice{charset + "_croatian_ci", newer, true})
	case "myanmar_ci", "thai_520_w2":
		out = append(out, choice{charset + "_unicode_520_ci", noLanguage, true})
	case "tolower_ci", "general1400_as_ci":
		out = append(out, choice{charset + "_general_ci", "the target knows no order that folds case only", true})
	}
	return out
}

func nearest0900(code, rest string) []choice {
	if rest == "bin" {
		return []choice{{name: "utf8mb4_nopad_bin", why: renamed}, {"utf8mb4_bin", padded, true}}
	}
	rest = strings.TrimSuffix(rest, "_ks")
	var out []choice
	why := newer
	language := languages[code]
	if language != "" {
		out = append(out, choice{name: "utf8mb4_uca1400_" + language + "_nopad_" + rest, why: newer})
	} else if code != "" {
		why = noLanguage
	}
	out = append(out, choice{name: "utf8mb4_uca1400_nopad_" + rest, why: why, coarser: language != ""})
	if rest == "as_cs" {
		return append(out, choice{name: "utf8mb4_nopad_bin", why: binary}, choice{"utf8mb4_bin", binary, true})
	}
	out = append(out, choice{"utf8mb4_unicode_520_nopad_ci", why, rest == "as_ci" || language != ""})
	if language != "" {
		out = append(out, choice{"utf8mb4_" + language + "_ci", padded, true})
	}
	return append(out, choice{"utf8mb4_unicode_520_ci", padded, true}, choice{"utf8mb4_unicode_ci", padded, true})
}

func nearest1400(charset, language string, nopad bool, accents, letters string) []choice {
	var out []choice
	exact := accents + "_" + letters
	if charset == "utf8mb4" && nopad { // MySQL's 0900 let trailing spaces count
		code := languageCode(language)
		finer := exact
		if exact == "ai_cs" || exact == "as_ci" && code != "" {
			finer = "as_cs" // MySQL has no such pair
		}
		switch {
		case code != "":
			out = append(out, choice{name: "utf8mb4_" + code + "_0900_" + finer, why: newer})
		case language == "":
			out = append(out, choice{name: "utf8mb4_0900_" + finer, why: newer})
		}
	}
	// Within MariaDB, the version without a language is better than an older one with it.
	if letters == "cs" {
		if nopad {
			out = append(out, choice{name: charset + "_nopad_bin", why: binary})
		}
		if !nopad {
			return append(out, choice{name: charset + "_bin", why: binary})
		}
		return append(out, choice{charset + "_bin", binary, true})
	}
	coarser := accents == "as" || language != ""
	why := newer
	switch {
	case nopad:
		out = append(out, choice{charset + "_unicode_520_nopad_ci", newer, coarser})
		why = padded
	case accents == "as":
		why = noAccents
	}
	if language != "" {
		out = append(out, choice{charset + "_" + language + "_ci", why, true})
	}
	return append(out, choice{charset + "_unicode_520_ci", why, coarser || nopad}, choice{charset + "_unicode_ci", why, true})
}

func nearestNoPad(charset, family, end string) []choice {
	var out []choice
	if charset == "utf8mb4" {
		switch {
		case end == "bin":
			out = append(out, choice{name: "utf8mb4_0900_bin", why: renamed})
		case family == "unicode" || family == "unicode_520":
			out = append(out, choice{name: "utf8mb4_0900_ai_ci", why: newer})
		default:
			out = append(out, choice{"utf8mb4_0900_ai_ci", newer, true})
		}
	}
	if family == "" {
		return append(out, choice{charset + "_" + end, padded, true})
	}
	return append(out, choice{charset + "_" + family + "_" + end, padded, true})
}
