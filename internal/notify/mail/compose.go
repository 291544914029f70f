package mail

import (
	"bytes"
	"html"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/backstay/backstay/internal/notify"
)

// compose returns the mail as it is sent. refused are addresses that it does
// not go to although it should.
func (m *Mail) compose(msg notify.Message, ref, id string, refused []refusal) ([]byte, error) {
	mail := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP), gomail.WithNoDefaultUserAgent())
	mail.FromMailAddress(m.from)
	mail.ToMailAddress(m.to...)
	mail.Subject(oneLine(msg.Subject, 200))
	mail.SetDateWithValue(m.opt.Clock.Now())
	mail.SetGenHeader(gomail.HeaderMessageID, id)
	if ref != id {
		mail.SetGenHeader(gomail.HeaderInReplyTo, ref)
		mail.SetGenHeader(gomail.HeaderReferences, ref)
	}
	// RFC 3834: no out-of-office answers, and no tickets of answering machines.
	mail.SetGenHeader("Auto-Submitted", "auto-generated")
	mail.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	mail.SetGenHeader(gomail.HeaderXMailer, "backstay")
	for name, value := range map[gomail.Header]string{
		"X-Backstay-App": msg.Alarm.App, "X-Backstay-Topic": string(msg.Alarm.Topic), "X-Backstay-Part": string(msg.Part), "X-Backstay-Host": msg.Host,
	} {
		if value = oneLine(value, 100); value != "" {
			mail.SetGenHeader(name, value)
		}
	}
	text, page := msg.Text, msg.HTML
	if len(refused) > 0 {
		line := "The mail server did not take this mail for " + list(refused) + "."
		text += "\n\n" + line + "\n"
		if page != "" {
			page += "\n<p>" + html.EscapeString(line) + "</p>\n"
		}
	}
	mail.SetBodyString(gomail.TypeTextPlain, text)
	if page != "" {
		mail.AddAlternativeString(gomail.TypeTextHTML, page)
	}
	var b bytes.Buffer
	if _, err := mail.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// oneLine returns at most n runes of text without what could end a header.
func oneLine(text string, n int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}
