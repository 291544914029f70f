package archive

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

var timePlaceholder = regexp.MustCompile(`%[a-zA-Z]`)

// FileName returns the name, without its extension, that iTop's
// file_name_format gives to an archive made at a time, which is shown in its
// own zone. __HOST__, __DB__ and __SUBNAME__ stand for the database's host,
// name and prefix; then % and a letter are as iTop has them, which is nearly
// strftime (utils::StrftimeFormatToDateTimeFormat): %j begins at 0, %e, %k and
// %l have no leading blank, %g and %G are the calendar's year, %U is the Unix
// time with a % before it. What would not be one path element is a usage error.
func FileName(format string, at time.Time, host, db, subname string) (string, error) {
	name := strings.ReplaceAll(format, "__HOST__", host)
	name = strings.ReplaceAll(name, "__DB__", db)
	name = strings.ReplaceAll(name, "__SUBNAME__", subname)
	name = timePlaceholder.ReplaceAllStringFunc(name, func(s string) string {
		if php, ok := strftimeToPHP()[s[1]]; ok {
			return phpDate(php, at)
		}
		return "%" + phpDate(s[1:], at)
	})
	problem := ""
	switch {
	case name == "" || name == "." || name == "..":
		problem = "that is no name"
	case strings.ContainsAny(name, "/\\\x00"):
		problem = "it holds a slash, backslash or NUL"
	case len(name) > MaxName-len(".tar.gz.sha256"):
		problem = fmt.Sprintf("it is longer than %d bytes", MaxName-len(".tar.gz.sha256"))
	}
	if problem != "" {
		return "", &core.Error{
			Code: core.CodeUsage, Op: "name archive", Message: fmt.Sprintf("the format %q gives the name %q: %s", format, name, problem),
			Hint: "use letters, digits, __HOST__, __DB__, __SUBNAME__ and %Y %m %d %H %M %S; for a folder, write it before the format",
		}
	}
	return name, nil
}

// strftimeToPHP is what iTop turns strftime's letters into: a format of PHP's
// DateTime. Letters that are not here it hands to DateTime with their %.
func strftimeToPHP() map[byte]string {
	return map[byte]string{
		'd': "d", 'm': "m", 'y': "y", 'Y': "Y", 'H': "H", 'M': "i", 'S': "s",
		'a': "D", 'A': "l", 'e': "j", 'j': "z", 'u': "N", 'w': "w", 'V': "W",
		'b': "M", 'B': "F", 'h': "M", 'g': "y", 'G': "Y",
		'k': "G", 'I': "h", 'l': "g", 'p': "A", 'P': "a", 'r': "h:i:s A", 'R': "H:i", 'T': "H:i:s", 'z': "O", 'Z': "T",
		'D': "m/d/y", 'F': "Y-m-d", 's': "U",
	}
}

// phpDate formats as PHP's DateTime::format does (PHP manual, DateTimeInterface::format, PHP 8.2).
func phpDate(format string, at time.Time) string {
	var b strings.Builder
	for i := range len(format) {
		b.WriteString(phpLetter(format[i], at))
	}
	return b.String()
}

func phpLetter(c byte, at time.Time) string {
	year, week := at.ISOWeek()
	iso := int(at.Weekday()+6)%7 + 1
	if layout, ok := map[byte]string{
		'd': "02", 'D': "Mon", 'j': "2", 'l': "Monday", 'F': "January", 'm': "01", 'M': "Jan", 'n': "1", 'y': "06",
		'a': "pm", 'A': "PM", 'g': "3", 'h': "03", 'H': "15", 'i': "04", 's': "05", 'O': "-0700", 'P': "-07:00", 'T': "MST",
		'c': "2006-01-02T15:04:05-07:00", 'r': "Mon, 02 Jan 2006 15:04:05 -0700",
	}[c]; ok {
		return at.Format(layout)
	}
	switch c {
	case 'Y', 'x', 'X':
		s := fmt.Sprintf("%04d", at.Year())
		if c == 'X' || c == 'x' && at.Year() > 9999 {
			s = "+" + s
		}
		return s
	case 'N':
		return strconv.Itoa(iso)
	case 'S':
		return ordinal(at.Day())
	case 'w':
		return strconv.Itoa(int(at.Weekday()))
	case 'z':
		return strconv.Itoa(at.YearDay() - 1)
	case 'W':
		return fmt.Sprintf("%02d", week)
	case 'o':
		return strconv.Itoa(year)
	case 't':
		return strconv.Itoa(time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day())
	case 'L':
		if time.Date(at.Year(), 12, 31, 0, 0, 0, 0, time.UTC).YearDay() == 366 {
			return "1"
		}
		return "0"
	case 'G':
		return strconv.Itoa(at.Hour())
	case 'U':
		return strconv.FormatInt(at.Unix(), 10)
	case 'B': // Swatch Internet time, of UTC+1
		return fmt.Sprintf("%03d", (at.Unix()+3600)%86400*1000/86400)
	case 'u':
		return fmt.Sprintf("%06d", at.Nanosecond()/1000)
	case 'v':
		return fmt.Sprintf("%03d", at.Nanosecond()/1_000_000)
	case 'e':
		return at.Location().String()
	case 'I':
		if at.IsDST() {
			return "1"
		}
		return "0"
	case 'p':
		if _, offset := at.Zone(); offset == 0 {
			return "Z"
		}
		return at.Format("-07:00")
	case 'Z':
		_, offset := at.Zone()
		return strconv.Itoa(offset)
	}
	return string(c)
}

func ordinal(day int) string {
	if day/10 != 1 {
		switch day % 10 {
		case 1:
			return "st"
		case 2:
			return "nd"
		case 3:
			return "rd"
		}
	}
	return "th"
}
