package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

const (
	newTickets        = 12
	messagesPerTicket = 3
	newFiles          = 2
	dayDocument       = 256 * kilobyte // the largest new document, in bytes
	dayDocuments      = 1 << 40        // indexes above it are documents of such days
)

// Touch does a day's work on the helpdesk: new tickets with messages and
// attachments, edits, new uploads. It says what it did. The same state gives
// the same day.
func Touch(ctx context.Context, conn *mysql.Conn, dir string) (what []string, err error) {
	d, err := newDay(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("do a day's work: %w", err)
	}
	if err := d.workDatabase(ctx, conn); err != nil {
		// The session stays usable when it can; when it cannot, this fails too.
		_, rollback := conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		return nil, errors.Join(fmt.Errorf("do a day's work: %w", err), rollback)
	}
	if err := d.workFiles(filepath.Join(dir, UploadsDir)); err != nil {
		return nil, diskError("do a day's work", err)
	}
	return []string{
		fmt.Sprintf("opened %d tickets with %d messages and %d attachments", newTickets, newTickets*messagesPerTicket, newFiles),
		fmt.Sprintf("solved %s and edited 1 customer", plural(d.solved, "ticket")),
		fmt.Sprintf("uploaded %s (%d KB)", plural(newFiles, "file"), d.uploadBytes/kilobyte),
	}, nil
}

// day is a day's work, planned from the state of the database.
type day struct {
	plan                                       *plan
	agents, ticket, message, attachment, files int // the highest ids
	uploads                                    []upload
	uploadBytes                                int64
	solved                                     int
}

func newDay(ctx context.Context, conn *mysql.Conn) (*day, error) {
	rows, err := conn.Query(ctx, "SELECT (SELECT MAX(id) FROM customers), (SELECT MAX(id) FROM agents), (SELECT MAX(id) FROM tickets),"+
		" (SELECT MAX(id) FROM ticket_messages), (SELECT MAX(id) FROM attachments), (SELECT MAX(id) FROM uploads)")
	if err != nil {
		return nil, err
	}
	var ids [6]int
	for i := range ids {
		if ids[i], err = strconv.Atoi(rows[0][i].Text); err != nil {
			return nil, fmt.Errorf("read highest id: %w", err)
		}
	}
	d := &day{
		plan:   &plan{seed: uint64(ids[2]), progress: core.NoProgress{}, largest: dayDocument, customers: ids[0]},
		agents: ids[1], ticket: ids[2], message: ids[3], attachment: ids[4], files: ids[5],
	}
	r := d.plan.random("day", 0)
	for n := range newFiles {
		id := d.files + 1 + n
		at := firstDay.Add(time.Duration(id) * 611 * time.Minute)
		u := d.plan.upload(r, id, uint64(dayDocuments+id), at)
		d.uploads = append(d.uploads, u)
		d.uploadBytes += int64(u.document.size)
	}
	return d, nil
}

func (d *day) workDatabase(ctx context.Context, conn *mysql.Conn) error {
	if err := execAll(ctx, conn, []string{"START TRANSACTION"}); err != nil {
		return err
	}
	p := d.plan
	tickets := p.insert(ctx, conn, "tickets", ticketColumns...)
	messages := p.insert(ctx, conn, "ticket_messages", messageColumns...)
	attachments := p.insert(ctx, conn, "attachments", "id", "message_id", "name", "mime", "sha256", "content")
	uploads := p.insert(ctx, conn, "uploads", "id", "ticket_id", "path", "size")
	for n := range newTickets {
		id, customer := d.ticket+1+n, p.customerOf(d.ticket+1+n)
		p.ticketRow(tickets, p.random("ticket", id), id, customer, p.languageOf(customer), d.agents)
		for m := range messagesPerTicket {
			message := d.message + 1 + n*messagesPerTicket + m
			messageRow(messages, p.random("message", message), message, id, p.languageOf(customer))
		}
	}
	for n, u := range d.uploads {
		id := d.attachment + 1 + n
		p.attachmentRow(attachments, p.random("attachments", id), id, d.message+1+n, uint64(2*dayDocuments+id))
		uploads.row(d.files+1+n, d.ticket+1+n, u.path, u.document.size)
	}
	for _, in := range []*inserter{tickets, messages, attachments, uploads} {
		if _, err := in.end(); err != nil {
			return err
		}
	}
	result, err := conn.Exec(ctx, fmt.Sprintf("UPDATE tickets SET status = 'solved', satisfaction = 0.1 WHERE id > %d AND id <= %d AND status <> 'solved'", d.ticket-20, d.ticket))
	if err != nil {
		return err
	}
	d.solved = int(result.Affected)
	return execAll(ctx, conn, []string{
		fmt.Sprintf("UPDATE customers SET notes = CONCAT('called, wants an answer by Friday 📞 ', %d) WHERE id = 1", d.ticket),
		"COMMIT",
	})
}

func (d *day) workFiles(root string) error {
	for _, u := range d.uploads {
		if err := d.plan.writeUpload(root, u); err != nil {
			return err
		}
		for folder := filepath.Dir(filepath.FromSlash(u.path)); ; folder = filepath.Dir(folder) {
			if err := os.Chtimes(filepath.Join(root, folder), u.modified, u.modified); err != nil {
				return err
			}
			if folder == "." {
				break
			}
		}
	}
	return nil
}
