package config

// Destination is an entry of `notify`: where people are told of an app's
// alarms. Which fields it has depends on its type.
type Destination struct {
	Name     string // unique in an app; the type where the file gives none
	Type     string // one of DestinationTypes
	Fallback bool   // only told of what none of those before it took
	URL      string // of itop, itflow and webhook; holds no password
	CA       string // of itop and webhook: PEM file with the authorities to trust, absolute
	User     string // of itop and mail
	// Secret is the password of itop and mail, the API key of itflow, the key
	// that webhook signs with, and the whole address of chat and ping.
	Secret  SecretSource
	ITop    ITopTicket
	ITFlow  ITFlowTicket
	Mail    Mail
	Headers map[string]string // of webhook
}

// The types of destinations.
const (
	NotifyITop    = "itop"
	NotifyITFlow  = "itflow"
	NotifyMail    = "mail"
	NotifyWebhook = "webhook"
	NotifyChat    = "chat"
	NotifyPing    = "ping"
)

// DestinationTypes lists the types that a destination can have.
func DestinationTypes() []string {
	return []string{NotifyITop, NotifyITFlow, NotifyMail, NotifyWebhook, NotifyChat, NotifyPing}
}

// ITopTicket says what an Incident in iTop is given. Fields are names, as
// iTop's check_ticket_* settings are; "" is not given.
type ITopTicket struct {
	SOAP               bool   // as iTop's own check-backup.php does, in place of REST
	Title              string // "": the alarm's own
	Customer           string // organization
	Service            string
	ServiceSubcategory string
	Workgroup          string // team
	ImpactedServer     string
	Caller             string // "first name last name"
}

// ITFlowTicket says what a ticket in ITFlow is given; 0 and "" are not given.
type ITFlowTicket struct {
	ClientID   int
	ContactID  int
	Priority   string // "Low", "Medium", "High"
	AssignedTo int    // a user's id
}

// Mail says how mail is sent.
type Mail struct {
	Host string
	Port int    // 587 for starttls, 465 for implicit, 25 for none where the file says nothing
	TLS  string // one of MailTLS
	From string
	To   []string
}

// MailTLS lists how a connection to a mail server can be protected.
func MailTLS() []string { return []string{"starttls", "implicit", "none"} }
