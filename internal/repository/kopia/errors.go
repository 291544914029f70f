package kopia

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/heal"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

type giveUpKey struct{}

// guard returns a context for one call into kopia, and a function that must be
// called with the call's error. kopia repeats a failed listing until its
// context ends (epoch.Manager's refresh); the storage ends the guarded context
// when a listing fails, and done gives the error that did it.
func guard(ctx context.Context) (context.Context, func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	guarded := context.WithValue(ctx, giveUpKey{}, cancel)
	return guarded, func(err error) error {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		cancel(nil)
		return err
	}
}

// giveUp ends the guarded operation that ctx belongs to.
func giveUp(ctx context.Context, err error) {
	if cancel, ok := ctx.Value(giveUpKey{}).(context.CancelCauseFunc); ok && ctx.Err() == nil {
		cancel(err)
	}
}

// storageError classifies an error of writing; nil stays nil.
func storageError(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", op, err)
	}
	var known *core.Error
	if errors.As(err, &known) {
		return err
	}
	if missing := place.Gone(path); missing != nil {
		return missing
	}
	if disk := place.DiskError(op, path, err); disk != nil {
		return disk
	}
	if heal.Damaged(err) {
		return damage(op, err)
	}
	return repository.StorageError(fmt.Errorf("%s: %w", op, err))
}

// readError classifies an error of reading: what was committed must be there
// and whole, so whatever is not the operating system's complaint is damage.
func readError(ctx context.Context, op string, st *fileStorage, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", op, err)
	}
	var known *core.Error
	if errors.As(err, &known) {
		return err
	}
	if gone := place.MustBeRepository(st.root); core.CodeOf(gone) == core.CodeNoRepository {
		return gone
	}
	if disk := place.DiskError(op, st.root, err); disk != nil {
		return disk
	}
	return damage(op, err)
}

func damage(op string, err error) error {
	return repository.StorageError(&core.Error{
		Code: core.CodeDamage, Op: op, Message: "the repository is damaged", Err: err,
		Hint: "see what is affected with `backstay verify --all`; put the missing files back from a copy of the repository if there is one",
	})
}

// wrongKey is the error for a key that does not open the repository. A format
// blob whose bytes were changed looks the same.
func wrongKey(op, path string) error {
	return repository.StorageError(&core.Error{
		Code: core.CodeWrongKey, Op: op,
		Message: fmt.Sprintf("the key does not open the repository in %s", path),
		Hint: fmt.Sprintf("check password_file: it must be the key that `backstay init` made for this repository; "+
			"if it is, %s there is damaged: put it back from a copy", place.FormatFile),
	})
}
