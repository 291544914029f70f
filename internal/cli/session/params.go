package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop/paramfile"
)

// ScriptParams are the parameters of iTop's backup scripts, from their parameter
// files and from flags of the same names, which win.
type ScriptParams struct {
	files []string
	flags map[string]*string
	fl    *pflag.FlagSet

	paramfile.Params
	given bool
}

// ParamFlags adds --param_file and iTop's own arguments, so that a command line
// of iTop's scripts goes on working. Passwords are refused there: a command
// line can be read by everybody on the machine.
func (s *Session) ParamFlags(fl *pflag.FlagSet, p *ScriptParams) {
	fl.StringArrayVar(&p.files, "param_file", nil, "parameter file of iTop's backup scripts; several are separated by commas")
	p.flags, p.fl = map[string]*string{}, fl
	for _, key := range paramfile.Keys() {
		if fl.Lookup(key) != nil {
			continue
		}
		p.flags[key] = fl.String(key, "", "as in a parameter file of iTop's backup scripts; wins over it")
		_ = fl.MarkHidden(key) // it was made in the line above
	}
}

// ReadParams reads what ParamFlags was given.
func (s *Session) ReadParams(p *ScriptParams) error {
	if len(p.files) > 0 {
		read, err := paramfile.Read(strings.Join(p.files, ","))
		if err != nil {
			return err
		}
		p.Params, p.given = read, true
		for _, w := range p.Warnings {
			s.Printer.Warn(w)
		}
	}
	for key, value := range p.flags {
		if !p.fl.Changed(key) {
			continue
		}
		for _, secret := range paramfile.Secrets() {
			if key == secret && key != "auth_pwd" {
				return &core.Error{
					Code: core.CodeUsage, Op: s.ran, Message: "--" + key + " is a password, and every user of this machine can read command lines",
					Hint: "put it into a file that only you can read, and name that with --param_file",
				}
			}
		}
		if key == "auth_pwd" {
			s.Printer.Warn(core.Warning{Object: "--auth_pwd", Message: "backstay needs no login of iTop's; leave it out, since every user of this machine can read command lines"})
		}
		p.Set(key, *value)
		p.given = true
	}
	return nil
}

// BackupFile returns the archive that iTop's scripts would write or read, as it
// was given: with placeholders, perhaps without its ending. "" for none.
func (p *ScriptParams) BackupFile() string {
	file, _ := p.Get("backup_file")
	return file
}

// Simulate says whether only the name of the archive is asked for.
func (p *ScriptParams) Simulate() bool {
	v, _ := p.Get("simulate")
	return v != "" && v != "0" && v != "false"
}

// ApplyParams gives the apps the limits and the ticket of iTop's check-backup.php.
func (s *Session) ApplyParams(ctx context.Context, c *operation.Caretaker, apps []operation.App, p *ScriptParams) error {
	if !p.given {
		return nil
	}
	var sizeMin int64
	var reduction float64
	var err error
	if text, ok := p.Get("check_size_min"); ok {
		if sizeMin, err = strconv.ParseInt(text, 10, 64); err != nil || sizeMin < 0 {
			return badParam("check_size_min", text, "a number of bytes")
		}
	}
	if text, ok := p.Get("check_size_reduction_max"); ok {
		if reduction, err = strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64); err != nil || reduction < 0 || reduction > 100 {
			return badParam("check_size_reduction_max", text, "a number of per cent, 0 to 100")
		}
	}
	for _, a := range apps {
		i := slices.IndexFunc(c.Apps, func(known operation.App) bool { return known.Name == a.Name })
		if sizeMin > 0 {
			c.Apps[i].Limits.SizeMin = sizeMin
		}
		if reduction > 0 {
			c.Apps[i].Limits.SizeReductionMax = reduction
		}
		if login, ok := p.Get("check_ticket_login"); ok {
			d, err := s.scriptTicket(ctx, a, login, p)
			if err != nil {
				return err
			}
			posts := c.Apps[i].Posts
			c.Apps[i].Posts = func() []notify.Post { return append(posts(), s.posts(a.Name, []config.Destination{d})...) }
		}
	}
	return nil
}

func badParam(key, value, want string) error {
	return &core.Error{Code: core.CodeUsage, Op: "read parameters", Message: fmt.Sprintf("%s is %q, which is not %s", key, value, want), Hint: "correct it in the parameter file or on the command line"}
}

// scriptTicket is the ticket that check-backup.php would make.
func (s *Session) scriptTicket(ctx context.Context, a operation.App, login string, params *ScriptParams) (config.Destination, error) {
	get := func(key string) string { v, _ := params.Get(key); return v }
	t, err := a.Target()
	if err != nil {
		return config.Destination{}, err
	}
	p, err := Profiles().Get(a.Profile)
	if err != nil {
		return config.Destination{}, err
	}
	place, ok := p.(profile.Incidents)
	if !ok {
		return config.Destination{}, &core.Error{
			Code: core.CodeUsage, Op: s.ran, Message: "the ticket of a parameter file is for an app with the profile itop, which " + a.Name + " is not",
			Hint: "configure it under notify: in backstay.yaml",
		}
	}
	url, err := place.IncidentURL(ctx, t.App)
	if err != nil {
		return config.Destination{}, err
	}
	return config.Destination{
		Name: notify.Borrowed, Type: config.NotifyITop, URL: url, User: login, Secret: config.SecretSource{Password: params.Secret("check_ticket_pwd")},
		ITop: config.ITopTicket{
			SOAP: true, Title: get("check_ticket_title"), Customer: get("check_ticket_customer"), Service: get("check_ticket_service"),
			ServiceSubcategory: get("check_ticket_service_subcategory"), Workgroup: get("check_ticket_workgroup"), ImpactedServer: get("check_ticket_impacted_server"),
		},
	}, nil
}
