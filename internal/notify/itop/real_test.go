package itop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/itop"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

// realITop is an iTop with its demo data that may be written to, and an
// account that may do anything there by REST.
type realITop struct{ url, user, password string }

func givenITop(t *testing.T) realITop {
	t.Helper()
	at := realITop{os.Getenv("BACKSTAY_TEST_ITOP_URL"), os.Getenv("BACKSTAY_TEST_ITOP_USER"), os.Getenv("BACKSTAY_TEST_ITOP_PASSWORD")}
	if at.url == "" {
		t.Skip("BACKSTAY_TEST_ITOP_URL, _USER and _PASSWORD name no iTop to open tickets in")
	}
	return at
}

// do makes a request as iTop's documentation has it.
func (at realITop) do(t *testing.T, request string) map[string]map[string]any {
	t.Helper()
	res, err := http.PostForm(at.url+"/webservices/rest.php?version=1.3", url.Values{"auth_user": {at.user}, "auth_pwd": {at.password}, "json_data": {request}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Code    int
		Message string
		Objects map[string]struct{ Fields map[string]any }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Code != 0 {
		t.Fatalf("%s: %v: %.2000s", request, err, body)
	}
	objects := map[string]map[string]any{}
	for key, o := range answer.Objects {
		objects[key] = o.Fields
	}
	return objects
}

const ours = `SELECT Incident WHERE description LIKE '%backstay-%'`

func (at realITop) tickets(t *testing.T) map[string]map[string]any {
	t.Helper()
	return at.do(t, fmt.Sprintf(`{"operation":"core/get","class":"Incident","key":%q,"output_fields":"id,ref,status,title,description,public_log,private_log,solution,service_name,servicesubcategory_name,team_name,org_name,functionalcis_list,impact,agent_id_friendlyname"}`, ours))
}

func (at realITop) harness(t *testing.T, change func(*itop.Options)) notifytest.Harness {
	t.Helper()
	if len(at.tickets(t)) > 0 {
		at.do(t, fmt.Sprintf(`{"operation":"core/delete","comment":"test","class":"Incident","key":%q,"simulate":false}`, ours))
	}
	opt := itop.Options{
		URL: at.url, User: at.user, Password: core.NewSecret(at.password), Title: "Backup", Organization: "Demo", Caller: "Agatha Christie",
		Service: "Computers and peripherals", Subcategory: "Troubleshooting", Team: "Helpdesk", Agent: "Agatha Christie", Server: "Server1",
	}
	if change != nil {
		change(&opt)
	}
	d, err := itop.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return notifytest.Harness{
		Destination: d,
		Secrets:     []string{at.password},
		Taken: func() (taken []string) {
			found := at.tickets(t)
			keys := make([]string, 0, len(found))
			for key := range found {
				keys = append(keys, key)
			}
			sort.Strings(keys)
			for _, key := range keys {
				f := found[key]
				taken = append(taken, fmt.Sprint(f["title"], "\n", f["description"]))
				for _, log := range []string{"public_log", "private_log"} {
					for _, e := range f[log].(map[string]any)["entries"].([]any) {
						taken = append(taken, fmt.Sprint(e.(map[string]any)["message"]))
					}
				}
				if f["solution"] != "" {
					taken = append(taken, fmt.Sprint(f["solution"]))
				}
			}
			return taken
		},
		Open: func() (open int) {
			for _, f := range at.tickets(t) {
				if f["status"] != "resolved" && f["status"] != "closed" {
					open++
				}
			}
			return open
		},
		Faults: map[string]func(){},
	}
}

func TestRealITop(t *testing.T) {
	at := givenITop(t)
	t.Run("REST", func(t *testing.T) {
		notifytest.Run(t, func(t *testing.T) notifytest.Harness { return at.harness(t, nil) })
	})
	t.Run("SOAP", func(t *testing.T) {
		notifytest.Run(t, func(t *testing.T) notifytest.Harness {
			return at.harness(t, func(o *itop.Options) { o.Protocol = itop.SOAP })
		})
	})
	t.Run("fields", func(t *testing.T) {
		for _, protocol := range []itop.Protocol{itop.REST, itop.SOAP} {
			h := at.harness(t, func(o *itop.Options) { o.Protocol = protocol })
			ref, err := h.Destination.Deliver(t.Context(), "", notifytest.Message(core.AlarmOpened, "helpdesk"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range at.tickets(t) {
				text, err := json.MarshalIndent(f, "", " ")
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s %s: %s", protocol, ref, text)
				if f["ref"] != ref || f["org_name"] != "Demo" || f["service_name"] != "Computers and peripherals" || f["team_name"] != "Helpdesk" || f["impact"] != "1" ||
					!strings.Contains(string(text), "Server1") || !strings.HasPrefix(fmt.Sprint(f["title"]), "Backup: helpdesk: backups fail since") {
					t.Errorf("%s: the ticket is %s", protocol, text)
				}
			}
		}
	})
}
