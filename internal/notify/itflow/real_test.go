package itflow_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/itflow"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

// TestRealITFlow opens tickets in an ITFlow that may be written to, with a key
// of an agent that may do everything there.
func TestRealITFlow(t *testing.T) {
	root, key := os.Getenv("BACKSTAY_TEST_ITFLOW_URL"), os.Getenv("BACKSTAY_TEST_ITFLOW_KEY")
	if root == "" {
		t.Skip("BACKSTAY_TEST_ITFLOW_URL and _KEY name no ITFlow to open tickets in")
	}
	read := func(t *testing.T, path string, query url.Values) []map[string]any {
		t.Helper()
		query.Set("api_key", key)
		query.Set("limit", "100000")
		res, err := http.Get(root + "/api/v1/" + path + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Data []map[string]any }
		if err := json.Unmarshal(body, &said); err != nil {
			t.Fatalf("%v: %.500s", err, body)
		}
		return said.Data
	}
	tickets := func(t *testing.T, after int) (ours []map[string]any) {
		for _, f := range read(t, "tickets/read.php", url.Values{}) {
			var id int
			if _, err := fmt.Sscan(fmt.Sprint(f["ticket_id"]), &id); err != nil {
				t.Fatal(err)
			}
			if id > after && strings.Contains(fmt.Sprint(f["ticket_details"]), "backstay-") {
				f["id"] = id
				ours = append(ours, f)
			}
		}
		return ours
	}
	for _, client := range []int{0, 3} {
		t.Run(fmt.Sprint("client ", client), func(t *testing.T) {
			notifytest.Run(t, func(t *testing.T) notifytest.Harness {
				after := 0
				d, err := itflow.New(itflow.Options{URL: root, Key: core.NewSecret(key), ClientID: client, AssignedTo: 1})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range tickets(t, 0) { // of the test before
					after = f["id"].(int)
					if f["ticket_resolved_at"] != nil {
						continue
					}
					body, err := json.Marshal(map[string]any{"api_key": key, "ticket_id": after, "client_id": f["ticket_client_id"]})
					if err != nil {
						t.Fatal(err)
					}
					res, err := http.Post(root+"/api/v1/tickets/resolve.php", "application/json", strings.NewReader(string(body)))
					if err != nil {
						t.Fatal(err)
					}
					_ = res.Body.Close()
				}
				return notifytest.Harness{
					Destination: d,
					Secrets:     []string{key},
					Taken: func() (taken []string) {
						for _, f := range tickets(t, after) {
							taken = append(taken, fmt.Sprint(f["ticket_subject"], "\n", f["ticket_details"]))
							for _, r := range read(t, "ticket_replies/read.php", url.Values{"ticket_id": {fmt.Sprint(f["id"])}}) {
								taken = append(taken, fmt.Sprint(r["ticket_reply"]))
							}
						}
						return taken
					},
					Open: func() (open int) {
						for _, f := range tickets(t, after) {
							if fmt.Sprint(f["ticket_client_id"]) != fmt.Sprint(client) || f["ticket_priority"] != "High" {
								t.Errorf("the ticket is %v", f)
							}
							if f["ticket_resolved_at"] == nil {
								open++
							}
						}
						return open
					},
				}
			})
		})
	}
	for name, opt := range map[string]itflow.Options{
		"wrong key":       {URL: root, Key: core.NewSecret("wrong-key-0123456789")},
		"wrong path":      {URL: root + "/nowhere", Key: core.NewSecret(key)},
		"nobody's ticket": {URL: root, Key: core.NewSecret(key), ClientID: 999999},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := itflow.New(opt)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := d.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
			t.Logf("%q %v (%s)", ref, err, core.HintOf(err))
			if err != nil {
				notifytest.Discreet(t, err, []string{key, "wrong-key-0123456789"})
			}
		})
	}
}
