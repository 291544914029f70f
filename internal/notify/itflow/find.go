package itflow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/notify"
)

// Tickets cannot be searched by the API, only listed, the oldest first, and
// without saying how many there are.
const (
	pageSize  = 20
	lookedAt  = 400     // of the newest
	offsetMax = 1 << 30 // more tickets than there are
)

// ticket is a ticket as the API shows it: all values are texts or null.
type ticket struct {
	ID       text `json:"ticket_id"`
	Details  text `json:"ticket_details"`
	Client   text `json:"ticket_client_id"`
	Resolved text `json:"ticket_resolved_at"`
	Closed   text `json:"ticket_closed_at"`
	Archived text `json:"ticket_archived_at"`
	Status   text `json:"ticket_status"`
}

// over says whether nobody works on the ticket any more. 4 and 5 are ITFlow's
// own states resolved and closed.
func (t *ticket) over() bool {
	return t.Resolved != "" || t.Closed != "" || t.Archived != "" || t.Status == "4" || t.Status == "5"
}

// find returns the ticket that is called ref, or the newest open one of the
// message's matter; nil when there is none.
func (d *Destination) find(ctx context.Context, ref string, m notify.Message) (*ticket, error) {
	var resolved *ticket
	if id := number(text(ref)); id > 0 {
		found, err := d.read(ctx, id)
		if err != nil {
			return nil, err
		}
		// After a restore of ITFlow the number may be another ticket's.
		if len(found) == 1 && strings.Contains(string(found[0].Details), m.Matter) {
			if !found[0].over() {
				return &found[0], nil
			}
			resolved = &found[0]
		}
	}
	t, err := d.search(ctx, m.Matter)
	if err == nil && t == nil {
		t = resolved
	}
	return t, err
}

// search returns the newest open ticket of a matter among the newest tickets,
// nil when there is none.
func (d *Destination) search(ctx context.Context, matter string) (*ticket, error) {
	total, err := d.count(ctx)
	if err != nil {
		return nil, err
	}
	for end := total; end > 0 && end > total-lookedAt; end -= pageSize {
		from := max(0, end-pageSize)
		page, err := d.page(ctx, from, end-from)
		if err != nil {
			return nil, err
		}
		for i := len(page) - 1; i >= 0; i-- {
			if !page[i].over() && strings.Contains(string(page[i].Details), matter) {
				return &page[i], nil
			}
		}
	}
	return nil, nil
}

// count returns how many tickets there are, with a few requests.
func (d *Destination) count(ctx context.Context) (int, error) {
	exists := func(offset int) (bool, error) {
		found, status, err := d.list(ctx, offset, 1)
		if tooLong(err, status) {
			return true, nil
		}
		return len(found) > 0, err
	}
	high := 64
	for {
		there, err := exists(high)
		if err != nil {
			return 0, err
		}
		if !there {
			break
		}
		if high *= 4; high > offsetMax {
			return 0, d.refused("it lists tickets without end", "look at the address: it is the one that ITFlow is opened with")
		}
	}
	low := 0 // as many tickets, at least, are there
	for low < high {
		middle := (low + high) / 2
		there, err := exists(middle)
		if err != nil {
			return 0, err
		}
		if there {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// page lists tickets. A ticket that is too long by itself, with pictures in it,
// is none of ours.
func (d *Destination) page(ctx context.Context, from, n int) ([]ticket, error) {
	found, status, err := d.list(ctx, from, n)
	if !tooLong(err, status) {
		return found, err
	}
	if n == 1 {
		return nil, nil
	}
	first, err := d.page(ctx, from, n/2)
	if err != nil {
		return nil, err
	}
	second, err := d.page(ctx, from+n/2, n-n/2)
	return append(first, second...), err
}

func (d *Destination) list(ctx context.Context, from, n int) ([]ticket, int, error) {
	said, status, err := d.call(ctx, http.MethodGet, "tickets/read.php", nil, map[string]any{"limit": n, "offset": from})
	if err != nil {
		return nil, status, err
	}
	found, err := tickets(said)
	return found, status, err
}

func (d *Destination) read(ctx context.Context, id int) ([]ticket, error) {
	said, _, err := d.call(ctx, http.MethodGet, "tickets/read.php", url.Values{"ticket_id": {strconv.Itoa(id)}}, nil)
	if err != nil {
		return nil, err
	}
	return tickets(said)
}

func tickets(said answer) ([]ticket, error) {
	if len(said.Data) == 0 {
		return nil, nil
	}
	var found []ticket
	if err := json.Unmarshal(said.Data, &found); err != nil {
		return nil, fmt.Errorf("read the list of tickets: %w", err)
	}
	return found, nil
}
