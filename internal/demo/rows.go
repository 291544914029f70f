package demo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/mysql"
)

const (
	// A statement is sent when it is this long, well under the smallest usual
	// max_allowed_packet (16 MiB) together with the largest document.
	statementBytes = 2 << 20

	timeFormat  = "2006-01-02 15:04:05"
	milliFormat = "2006-01-02 15:04:05.000"
)

// inserter gathers the rows of one table into long INSERT statements.
type inserter struct {
	ctx      context.Context
	conn     *mysql.Conn
	progress interface{ Add(int64) }
	head     string
	text     []byte
	bytes    int64 // of values, in all
	pending  int64
	err      error // the first; then nothing is sent any more
}

func (p *plan) insert(ctx context.Context, conn *mysql.Conn, table string, columns ...string) *inserter {
	return &inserter{
		ctx: ctx, conn: conn, progress: p.progress,
		head: "INSERT INTO " + mysql.QuoteName(table) + " (" + mysql.QuoteNames(columns) + ") VALUES ",
	}
}

// row adds a row. Values are nil, int, float64, string (text) and []byte
// (binary).
func (in *inserter) row(values ...any) {
	if in.err != nil {
		return
	}
	if len(in.text) == 0 {
		in.text = append(in.text, in.head...)
	} else {
		in.text = append(in.text, ',')
	}
	for i, value := range values {
		in.text = append(in.text, "(,"[min(i, 1)])
		switch v := value.(type) {
		case nil:
			in.text = append(in.text, "NULL"...)
		case int:
			in.text = strconv.AppendInt(in.text, int64(v), 10)
		case float64:
			in.text = strconv.AppendFloat(in.text, v, 'g', -1, 64)
		case string:
			in.text = appendQuoted(in.text, v)
			in.pending += int64(len(v))
		case []byte:
			in.text = append(in.text, "_binary"...)
			in.text = appendQuoted(in.text, v)
			in.pending += int64(len(v))
		default:
			in.err = fmt.Errorf("insert: value of type %T", value)
		}
	}
	in.text = append(in.text, ')')
	if len(in.text) >= statementBytes {
		in.flush()
	}
}

func (in *inserter) flush() {
	if in.err == nil && len(in.text) > 0 {
		_, in.err = in.conn.Exec(in.ctx, string(in.text))
	}
	in.text = in.text[:0]
	in.progress.Add(in.pending)
	in.bytes += in.pending
	in.pending = 0
}

// end sends what is left and returns how many bytes of values were sent.
func (in *inserter) end() (int64, error) {
	in.flush()
	return in.bytes, in.err
}

// appendQuoted quotes a value for a session whose sql_mode is empty, so that
// backslashes escape.
func appendQuoted[T string | []byte](text []byte, v T) []byte {
	text = append(text, '\'')
	from := 0
	for i := range len(v) {
		c := v[i]
		if c != 0 && c != '\'' && c != '\\' {
			continue
		}
		text = append(text, v[from:i]...)
		if c == 0 {
			c = '0'
		}
		text = append(text, '\\', c)
		from = i + 1
	}
	text = append(text, v[from:]...)
	return append(text, '\'')
}

// writeDatabase makes the schema and all rows.
func (p *plan) writeDatabase(ctx context.Context, conn *mysql.Conn, uploads []upload) (Summary, error) {
	s := Summary{Customers: p.customers, Agents: p.agents, Tickets: p.tickets, Messages: p.messages}
	if err := execAll(ctx, conn, tableStatements); err != nil {
		return s, err
	}
	// One transaction: the rows go in faster.
	if err := execAll(ctx, conn, []string{"START TRANSACTION"}); err != nil {
		return s, err
	}
	for _, write := range []func(context.Context, *mysql.Conn) (int64, error){
		p.writeAgents, p.writeCustomers, p.writeTickets, p.writeMessages, p.writeTags,
		func(ctx context.Context, conn *mysql.Conn) (n int64, err error) {
			s.Attachments, n, err = p.writeAttachments(ctx, conn)
			return n, err
		},
		func(ctx context.Context, conn *mysql.Conn) (int64, error) {
			return p.writeUploadRows(ctx, conn, uploads)
		},
	} {
		n, err := write(ctx, conn)
		if err != nil {
			return s, err
		}
		s.DatabaseBytes += n
	}
	return s, execAll(ctx, conn, append([]string{"COMMIT"}, finishStatements...))
}

func execAll(ctx context.Context, conn *mysql.Conn, statements []string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			head, _, _ := strings.Cut(statement, " (")
			return fmt.Errorf("%s: %w", head, err)
		}
	}
	return nil
}

func (p *plan) random(purpose string, index int) *rand.Rand {
	return rand.New(stream(p.seed, purpose, uint64(index)))
}

func (p *plan) writeAgents(ctx context.Context, conn *mysql.Conn) (int64, error) {
	in := p.insert(ctx, conn, "agents", "id", "name", "email", "signature", "active")
	r := p.random("agents", 0)
	for id := 1; id <= p.agents; id++ {
		l := &languages[(id-1)%len(languages)]
		name := pick(r, l.names)
		in.row(id, name, fmt.Sprintf("agent%d@helpdesk.example", id), name+"\n"+l.phrase(r, 4), r.IntN(8)/7^1)
	}
	return in.end()
}

func (p *plan) writeCustomers(ctx context.Context, conn *mysql.Conn) (int64, error) {
	in := p.insert(ctx, conn, "customers", "id", "name", "email", "company", "country", "language", "notes", "created_at")
	r := p.random("customers", 0)
	for id := 1; id <= p.customers; id++ {
		l := p.languageOf(id)
		var company, notes any
		if r.IntN(4) > 0 {
			company = pick(r, l.companies)
		}
		switch r.IntN(3) {
		case 0:
			notes = l.letter(r, 1+r.IntN(3))
		case 1:
			notes = ""
		}
		created := firstDay.Add(time.Duration(id) * 97 * time.Minute)
		in.row(id, pick(r, l.names), fmt.Sprintf("customer%d@%s.example", id, l.code), company, l.country, l.code, notes, created.Format(timeFormat))
	}
	return in.end()
}

func (p *plan) languageOf(customer int) *language {
	return pickLanguage(p.random("language", customer))
}

// customerOf and firstMessage tie the tables together without keeping them.
func (p *plan) customerOf(ticket int) int { return p.random("customer", ticket).IntN(p.customers) + 1 }
func (p *plan) ticketOf(message int) int  { return min((message-1)/4+1, p.tickets) }

func ticketTime(ticket int) time.Time {
	return firstDay.Add(time.Duration(ticket) * 43 * time.Minute)
}

func ticketNumber(ticket int) string { return fmt.Sprintf("HD-%08d", ticket) }

func (p *plan) writeTickets(ctx context.Context, conn *mysql.Conn) (int64, error) {
	in := p.insert(ctx, conn, "tickets", ticketColumns...)
	for id := 1; id <= p.tickets; id++ {
		customer := p.customerOf(id)
		p.ticketRow(in, p.random("ticket", id), id, customer, p.languageOf(customer), p.agents)
	}
	return in.end()
}

var ticketColumns = []string{"id", "number", "customer_id", "agent_id", "subject", "status", "priority", "satisfaction", "cost", "due", "created_at"}

var statuses = []string{"new", "open", "waiting", "solved", "closed"}

func (p *plan) ticketRow(in *inserter, r *rand.Rand, id, customer int, l *language, agents int) {
	var agent, satisfaction, due any
	if r.IntN(5) > 0 {
		agent = r.IntN(agents) + 1
	}
	if r.IntN(2) == 0 {
		satisfaction = float64(r.Float32()) // needs all of a FLOAT's digits
	}
	if r.IntN(3) == 0 {
		due = ticketTime(id).AddDate(0, 0, 3+r.IntN(20)).Format(time.DateOnly)
	}
	in.row(id, ticketNumber(id), customer, agent, l.phrase(r, 3+r.IntN(5)), pick(r, statuses), 1+r.IntN(5), satisfaction,
		float64(r.IntN(100_000))/100, due, ticketTime(id).Format(timeFormat))
}

func (p *plan) writeMessages(ctx context.Context, conn *mysql.Conn) (int64, error) {
	in := p.insert(ctx, conn, "ticket_messages", messageColumns...)
	for id := 1; id <= p.messages; id++ {
		ticket := p.ticketOf(id)
		messageRow(in, p.random("message", id), id, ticket, p.languageOf(p.customerOf(ticket)))
	}
	return in.end()
}

var messageColumns = []string{"id", "ticket_id", "author", "internal", "body", "created_at"}

var authors = []string{"customer", "agent", "customer", "agent", "system"}

func messageRow(in *inserter, r *rand.Rand, id, ticket int, l *language) {
	at := ticketTime(ticket).Add(time.Duration(r.IntN(200_000_000)) * time.Millisecond)
	in.row(id, ticket, pick(r, authors), r.IntN(6)/5, l.letter(r, 1+r.IntN(12)), at.Format(milliFormat))
}

func (p *plan) writeTags(ctx context.Context, conn *mysql.Conn) (int64, error) {
	in := p.insert(ctx, conn, "tags", "id", "name", "colour")
	r := p.random("tags", 0)
	for i, name := range tagNames {
		in.row(i+1, name, []byte{byte(r.Uint32()), byte(i), 0})
	}
	n, err := in.end()
	if err != nil {
		return n, err
	}
	in = p.insert(ctx, conn, "ticket_tags", "ticket_id", "tag_id")
	for ticket := 1; ticket <= p.tickets; ticket++ {
		r := p.random("ticket tags", ticket)
		for _, tag := range r.Perm(len(tagNames))[:r.IntN(4)] {
			in.row(ticket, tag+1)
		}
	}
	m, err := in.end()
	return n + m, err
}

// writeAttachments adds documents until their share of the size is reached.
// Every tenth has been sent before: people forward what they got.
func (p *plan) writeAttachments(ctx context.Context, conn *mysql.Conn) (count int, n int64, err error) {
	in := p.insert(ctx, conn, "attachments", "id", "message_id", "name", "mime", "sha256", "content")
	r := p.random("attachments", 0)
	for in.bytes+in.pending < p.attachmentBytes && in.err == nil {
		count++
		index := uint64(count)
		if count%10 == 0 {
			index = r.Uint64N(index) + 1
		}
		p.attachmentRow(in, r, count, 1+r.IntN(p.messages), index)
	}
	n, err = in.end()
	return count, n, err
}

func (p *plan) attachmentRow(in *inserter, r *rand.Rand, id, message int, index uint64) {
	d := p.document(index)
	content := p.bytes(d)
	sum := sha256.Sum256(content)
	in.row(id, message, fileName(r, d, id), d.mime, sum[:], content)
}

func (p *plan) writeUploadRows(ctx context.Context, conn *mysql.Conn, uploads []upload) (int64, error) {
	in := p.insert(ctx, conn, "uploads", "id", "ticket_id", "path", "size")
	r := p.random("upload rows", 0)
	for i, u := range uploads {
		in.row(i+1, 1+r.IntN(p.tickets), u.path, u.document.size)
	}
	return in.end()
}
