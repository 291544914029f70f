package appkeys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys/itflow"
)

// Who is whose password it is. Both empty: that of any who can have one.
type Who struct {
	User   string // e-mail address
	APIKey string // its name
}

// Holder is somebody under whose password the master key is stored.
type Holder struct {
	Kind string `json:"kind"` // "user" or "api-key"
	ID   string `json:"id"`
	Name string `json:"name"` // e-mail address, or the API key's name
}

func (h Holder) String() string {
	if h.Kind == string(itflow.OfUser) {
		return "user " + h.Name
	}
	return "API key " + h.Name
}

// MasterKey is ITFlow's key, and who could open it.
type MasterKey struct {
	Key     itflow.MasterKey
	Holders []Holder // whose password it was
}

const (
	opITFlow  = "open the master key"
	hintTable = "ITFlow keeps it for agents only, and not for those of its clients"
)

// OpenITFlow opens the master key with a password. More than one key under the
// password is core.CodeAmbiguous, unless who says whose it is.
func OpenITFlow(ctx context.Context, s *Source, who Who, password core.Secret) (*MasterKey, error) {
	candidates, err := Candidates(ctx, s, who)
	if err != nil {
		return nil, err
	}
	found, refusals, err := itflow.Find(ctx, candidates, password)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, refused(s, who, refusals)
	case 1:
		return &MasterKey{found[0].Key, holders(found[0].Whose)}, nil
	}
	return nil, several(ctx, s, found)
}

// Candidates returns whose copies of the master key a password can be tried on;
// there is at least one. It is what can be said before anybody is asked for it.
func Candidates(ctx context.Context, s *Source, who Who) ([]itflow.Wrapping, error) {
	if err := s.of("itflow", "ITFlow", "ITFlow's alone have a master key; backstay key itop checks what iTop encrypts"); err != nil {
		return nil, err
	}
	all, err := itflow.Wrappings(ctx, s.Rows)
	if err != nil {
		return nil, s.absent(err, "ITFlow")
	}
	usable := slices.DeleteFunc(slices.Clone(all), func(w itflow.Wrapping) bool { return w.Archived || w.Stored == "" })
	kind, name := itflow.OfUser, who.User
	if who.APIKey != "" {
		kind, name = itflow.OfAPIKey, who.APIKey
	}
	hint := "nobody has a copy of it here: its own master_key archive may, or an older backup"
	if len(usable) > 0 {
		var names []string
		for _, h := range holders(usable) {
			names = append(names, h.String())
		}
		hint = "these have one: " + core.Some(names, 10)
	}
	if name == "" {
		if len(usable) == 0 {
			return nil, &core.Error{Code: core.CodeApplication, Op: opITFlow, Message: "no active user and no API key has a copy of it in " + s.where(), Hint: hint}
		}
		return usable, nil
	}
	named := slices.DeleteFunc(slices.Clone(all), func(w itflow.Wrapping) bool { return w.Kind != kind || !strings.EqualFold(w.Name, name) })
	chosen := slices.DeleteFunc(slices.Clone(named), func(w itflow.Wrapping) bool { return w.Archived || w.Stored == "" })
	label := Holder{Kind: string(kind), Name: name}.String()
	switch {
	case len(chosen) > 0:
		return chosen, nil
	case len(named) == 0:
		return nil, &core.Error{Code: core.CodeNotFound, Op: opITFlow, Message: "there is no " + label + " in " + s.where(), Hint: hint}
	case named[0].Archived:
		return nil, &core.Error{Code: core.CodeApplication, Op: opITFlow, Message: label + " is archived: ITFlow removed their copy of it then, so no password of theirs opens it", Hint: hint}
	}
	return nil, &core.Error{Code: core.CodeApplication, Op: opITFlow, Message: label + " has no copy of it, so no password of theirs opens it", Hint: hint + "; " + hintTable}
}

func holders(wrappings []itflow.Wrapping) []Holder {
	out := []Holder{}
	for _, w := range wrappings {
		out = append(out, Holder{string(w.Kind), w.ID, w.Name})
	}
	return out
}

// refused says why no copy opened.
func refused(s *Source, who Who, refusals []itflow.Refusal) error {
	var stale, malformed []string
	for _, r := range refusals {
		label := holders([]itflow.Wrapping{r.Wrapping})[0].String()
		switch {
		case errors.Is(r.Err, itflow.ErrStale):
			stale = append(stale, label)
		case errors.Is(r.Err, itflow.ErrMalformed):
			malformed = append(malformed, label)
		}
	}
	switch {
	case len(stale) > 0:
		return &core.Error{
			Code: core.CodeApplication, Op: opITFlow, Message: fmt.Sprintf("the password is that of %s, but their copy of it is under another one", core.Some(stale, 3)),
			Hint: "it was reset by somebody who was not logged in: the password before opens it, or that of another user; in ITFlow another agent can set theirs again",
		}
	case len(malformed) > 0 && len(malformed) == len(refusals):
		return &core.Error{Code: core.CodeApplication, Op: opITFlow, Message: fmt.Sprintf("the copy of %s is not stored as ITFlow stores one, so no password opens it", core.Some(malformed, 3)), Hint: "try another user's, or an older backup"}
	}
	message, hint := "the password is wrong", "give the password with which this user logs in to ITFlow"
	switch {
	case who.APIKey != "":
		hint = "give the password that was set for the API key's decryption, not the key itself"
	case who.User == "":
		message = fmt.Sprintf("the password is wrong: it is that of none of %d users and API keys", len(refusals))
		hint = "give the password with which somebody logs in to ITFlow, or that of an API key's decryption"
	}
	if s.Backup != "" {
		hint += ", as it was when the backup was made"
	}
	return &core.Error{Code: core.CodeFailed, Op: opITFlow, Message: message, Hint: hint}
}

// several says which keys a password opens, and what each opens.
func several(ctx context.Context, s *Source, found []itflow.Found) error {
	var all []itflow.MasterKey
	for _, f := range found {
		all = append(all, f.Key)
	}
	verdicts, err := itflow.Check(ctx, s.Rows, all...)
	if err != nil {
		return s.absent(err, "ITFlow")
	}
	var each []string
	for i, f := range found {
		each = append(each, fmt.Sprintf("that of %s opens %d of %d values", holders(f.Whose)[0], verdicts[i].Opened, verdicts[i].Fields))
	}
	return &core.Error{
		Code: core.CodeAmbiguous, Op: opITFlow, Message: fmt.Sprintf("%d different keys are under this password: %s", len(found), strings.Join(each, "; ")),
		Hint: "say whose with --user EMAIL or --api-key NAME",
	}
}

// CheckITFlow opens every credential with the key.
func CheckITFlow(ctx context.Context, s *Source, key itflow.MasterKey) (*itflow.Verdict, error) {
	verdicts, err := itflow.Check(ctx, s.Rows, key)
	if err != nil {
		return nil, s.absent(err, "ITFlow")
	}
	return &verdicts[0], nil
}
