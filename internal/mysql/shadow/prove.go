package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Prove checks, after a Switch, that each table's definition is the one that a
// plain restore would have made, that no foreign key which the account can see
// leads into or out of what is not live, and that every object is there. It
// changes nothing. It may be called before Settle.
func (s *Shadow) Prove(ctx context.Context, config mysql.Config) (err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if state := s.standing(l); state != StateNew || s.Doing != "" {
		return unproved([]string{fmt.Sprintf("the backup's tables are not all live (%s)", state)})
	}
	var wrong []string
	for i := range s.Tables {
		t := &s.Tables[i]
		kind, live := l.at(s.live(t))
		if t.Kind == "" && live {
			wrong = append(wrong, fmt.Sprintf("%s %s is still there", kind, t.Name))
		}
		if t.Kind == "" || t.Kind == "view" && slices.Contains(s.Lost, t.Name) {
			continue
		}
		if kind != t.Kind {
			wrong = append(wrong, fmt.Sprintf("%s %s is not there", t.Kind, t.Name))
			continue
		}
		if t.Sum == "" {
			continue
		}
		printed, err := l.showCreate(ctx, s.live(t))
		if err != nil {
			return err
		}
		if text, ok := s.canonical(t, printed, l.places, l.server.MariaDB()); !ok || sumOf(text) != t.Sum {
			wrong = append(wrong, "table "+t.Name+" has another definition than it was built with")
		}
	}
	keys, err := l.foreignKeys(ctx, s.schemas(), true)
	if err != nil {
		return err
	}
	for _, stray := range l.strays(keys) {
		wrong = append(wrong, "foreign key "+stray)
	}
	objects, _, err := l.objects(ctx)
	if err != nil {
		return err
	}
	there := map[objectKey]bool{}
	for _, o := range objects {
		there[keyOf(o)] = true
	}
	for _, o := range s.Will.Objects {
		if !there[keyOf(o)] && !slices.Contains(s.Lost, o.Name) && !slices.Contains(s.Left, o.Kind+" "+o.Name) {
			wrong = append(wrong, o.Kind+" "+o.Name+" is not there")
		}
	}
	return unproved(wrong)
}

func unproved(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "prove the restored database", Message: core.Some(wrong, 5),
		Hint: "backstay undo brings the former state back",
	}
}
