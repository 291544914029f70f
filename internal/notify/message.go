package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Limits of what is said of an alarm: people stop reading, and tickets, chats
// and mails have limits of their own.
const (
	problemsMax = 20
	messageMax  = 500 // runes
	objectMax   = 120
	hintMax     = 300
	nameMax     = 80
	subjectMax  = 180
	htmlMax     = 30_000 // bytes; a field of iTop takes 65,535 with what it adds
)

// Setting is what a message needs to know besides its alarm.
type Setting struct {
	Host     string         // the machine
	Now      time.Time      // when it is told
	Location *time.Location // whose time people read; nil: UTC
	Safe     string         // the last good backup, in words; "": none is known
}

// topicTest is what the alarms of tests are about. No real alarm is, so that a
// test can neither close nor change the ticket of one.
const topicTest core.Topic = "test"

// Compose puts a part of an alarm's life into words.
func Compose(part core.AlarmPart, a core.Alarm, s Setting) Message {
	if s.Location == nil {
		s.Location = time.UTC
	}
	if part == core.AlarmTest {
		a.Topic = topicTest
	}
	m := Message{Part: part, Host: clean(s.Host, nameMax)}
	m.Matter, m.Marker = markers(s.Host, a)
	for shown := problemsMax; shown > 0; shown /= 2 {
		m.Alarm = presentable(a, shown)
		w := writer{part: part, alarm: m.Alarm, count: len(a.Problems), setting: s, host: m.Host, marker: m.Marker}
		m.Subject = w.subject()
		for _, p := range w.paragraphs() {
			p.write(&w.text, &w.html)
		}
		m.Text, m.HTML = w.text.String(), w.html.String()
		if len(m.HTML) <= htmlMax {
			break
		}
	}
	return m
}

// markers returns what finds a ticket. It does not depend on the alarm's ID,
// which is lost with the ledger.
func markers(host string, a core.Alarm) (matter, marker string) {
	sum := sha256.Sum256([]byte(host + "\x00" + a.App + "\x00" + string(a.Topic)))
	matter = "backstay-" + hex.EncodeToString(sum[:8])
	return matter, matter + "-" + strconv.FormatInt(a.Opened.Unix(), 36)
}

// presentable returns a copy of a, with at most max of its problems, whose
// texts are clean, bounded and hold no secrets.
func presentable(a core.Alarm, max int) core.Alarm {
	problems := make([]core.Problem, 0, min(len(a.Problems), max)+1)
	for _, p := range a.Problems[:min(len(a.Problems), max)] {
		p.App, p.Name = clean(p.App, nameMax), clean(p.Name, nameMax)
		p.Object, p.Message, p.Hint = Line(p.Object, objectMax), Line(p.Message, messageMax), Line(p.Hint, hintMax)
		problems = append(problems, p)
	}
	if more := len(a.Problems) - len(problems); more > 0 {
		problems = append(problems, core.Problem{
			App: clean(a.App, nameMax), Topic: a.Topic, Name: "more", Message: fmt.Sprintf("and %d more", more),
			Hint: strings.TrimSpace("backstay check " + clean(a.App, nameMax)), Level: core.LevelAlarm,
		})
	}
	a.App, a.Problems, a.Deliveries = clean(a.App, nameMax), problems, nil
	return a
}

// InWords says what an alarm is about.
func InWords(a core.Alarm) string {
	switch a.Topic {
	case core.TopicBackup:
		if slices.ContainsFunc(a.Problems, func(p core.Problem) bool { return p.Name == "failed" }) {
			return "backups fail"
		}
		return "backups need attention"
	case core.TopicContent:
		return "the backup is implausible"
	case core.TopicProof:
		return "the backup is not proven"
	case core.TopicRepository:
		return "the repository needs attention"
	case core.TopicService:
		return "backstay needs attention"
	default:
		return clean(string(a.Topic), nameMax)
	}
}

type writer struct {
	part       core.AlarmPart
	alarm      core.Alarm
	count      int // of its problems, shown or not
	setting    Setting
	host       string
	marker     string
	text, html strings.Builder
}

func (w *writer) at(t time.Time) string { return t.In(w.setting.Location).Format("2006-01-02 15:04") }

// zoned is at with the name of the zone.
func (w *writer) zoned(t time.Time) string {
	return t.In(w.setting.Location).Format("2006-01-02 15:04 MST")
}

func (w *writer) subject() string {
	about := w.alarm.App
	if about == "" {
		about = w.host
	}
	what := InWords(w.alarm)
	switch {
	case w.alarm.Topic == topicTest:
		what = "test message, nothing is wrong (" + string(w.part) + ")"
	case w.part == core.AlarmClosed:
		what = fmt.Sprintf("over: %s (%s to %s)", what, w.at(w.alarm.Opened), w.at(w.ended()))
	default:
		count := "1 problem"
		if w.count != 1 {
			count = fmt.Sprintf("%d problems", w.count)
		}
		if w.part == core.AlarmUpdated {
			count += ", changed"
		}
		what = fmt.Sprintf("%s, found %s (%s)", what, w.at(w.alarm.Opened), count)
	}
	return clean("backstay: "+about+": "+what, subjectMax)
}

func (w *writer) ended() time.Time {
	if w.alarm.Closed != nil {
		return *w.alarm.Closed
	}
	return w.setting.Now
}

// paragraph is a heading with lines below it.
type paragraph struct {
	head  string
	items []item
}

type item struct{ text, hint string }

func (w *writer) paragraphs() []paragraph {
	subject := "machine " + w.host
	if w.alarm.App != "" {
		subject = "app " + w.alarm.App + " on " + subject
	}
	var all []paragraph
	problems := paragraph{head: "What is wrong"}
	switch {
	case w.alarm.Topic == topicTest:
		all = append(all, paragraph{head: "This is a test of backstay's alarms, from " + subject + ". Nothing is wrong, and nothing has to be done."})
		if w.part != core.AlarmTest {
			all = append(all, paragraph{head: "It shows what an alarm that is " + string(w.part) + " looks like here."})
		}
		return append(all, w.origin())
	case w.part == core.AlarmClosed:
		problems.head = "What was wrong"
		all = append(all, paragraph{head: fmt.Sprintf("It is over: %s, %s, from %s to %s.", InWords(w.alarm), subject, w.zoned(w.alarm.Opened), w.zoned(w.ended()))})
	default:
		changed := ""
		if w.part == core.AlarmUpdated {
			changed = ", changed " + w.zoned(w.alarm.Updated)
		}
		all = append(all, paragraph{head: fmt.Sprintf("%s: %s, found %s%s.", subject, InWords(w.alarm), w.zoned(w.alarm.Opened), changed)})
	}
	for _, p := range w.alarm.Problems {
		text := p.Message
		if p.Object != "" && !strings.Contains(text, p.Object) {
			text = p.Object + ": " + text
		}
		i := item{text: text}
		if w.part != core.AlarmClosed {
			i.hint = p.Hint
		}
		problems.items = append(problems.items, i)
	}
	all = append(all, problems)
	if safe := Line(w.setting.Safe, messageMax); safe != "" {
		all = append(all, paragraph{head: "What is still safe", items: []item{{text: safe}}})
	} else if w.alarm.App != "" && w.part != core.AlarmClosed {
		all = append(all, paragraph{head: "What is still safe", items: []item{{text: "no good backup is known", hint: "backstay list " + w.alarm.App}}})
	}
	return append(all, w.origin())
}

func (w *writer) origin() paragraph {
	text := "backstay on " + w.host
	if w.alarm.ID != 0 {
		text += fmt.Sprintf(", alarm %d", w.alarm.ID)
	}
	return paragraph{items: []item{{text: text + ", " + w.marker}}}
}

func (p paragraph) write(text, markup *strings.Builder) {
	if text.Len() > 0 {
		text.WriteByte('\n')
	}
	bare := p.head == "" || len(p.items) == 0
	if bare {
		markup.WriteString("<p>")
	}
	if p.head != "" {
		text.WriteString(p.head)
		if !bare {
			text.WriteByte(':')
			markup.WriteString("<p><b>" + html.EscapeString(p.head) + ":</b></p><ul>")
		} else {
			markup.WriteString(html.EscapeString(p.head))
		}
		text.WriteByte('\n')
	}
	for _, i := range p.items {
		open, end := "<li>", "</li>"
		if bare {
			open, end = "", ""
		} else {
			text.WriteString("- ")
		}
		text.WriteString(i.text + "\n")
		markup.WriteString(open + html.EscapeString(i.text))
		if i.hint != "" {
			text.WriteString("  -> " + i.hint + "\n")
			markup.WriteString("<br>→ <code>" + html.EscapeString(i.hint) + "</code>")
		}
		markup.WriteString(end)
	}
	if bare {
		markup.WriteString("</p>")
	} else {
		markup.WriteString("</ul>")
	}
	markup.WriteByte('\n')
}
