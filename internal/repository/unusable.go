package repository

import (
	"context"
	"io"

	"github.com/backstay/backstay/internal/core"
)

// Unusable returns a store that could not be opened: every method returns why.
// So whoever looks after backups can say of each what is wrong, and tell of it.
// The error is the repository's fault (ErrStorage).
func Unusable(why error) Store { return unusable{StorageError(why)} }

type unusable struct{ why error }

var _ Store = unusable{}

func (u unusable) Open(context.Context, core.ObjectID) (io.ReadSeekCloser, error) { return nil, u.why }

func (u unusable) ReadDir(context.Context, core.ObjectID) ([]core.Entry, error) { return nil, u.why }

func (u unusable) Begin(context.Context) (Session, error) { return nil, u.why }

func (u unusable) List(context.Context) ([]Record, error) { return nil, u.why }

func (u unusable) Delete(context.Context, string) error { return u.why }

func (u unusable) Mark(context.Context, string, Mark) error { return u.why }

func (u unusable) Maintain(context.Context) (Maintained, error) { return Maintained{}, u.why }

func (u unusable) Space(context.Context) (core.Space, error) { return core.Space{}, u.why }

func (u unusable) Close(context.Context) error { return nil }
