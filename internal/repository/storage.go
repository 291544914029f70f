package repository

import "errors"

// ErrStorage is in the chain of an error that the repository or the storage
// below it is the cause of: full, gone, unreadable, damaged, refusing the key.
// The application that was being worked on is not to blame, and the next one
// will meet the same.
var ErrStorage = errors.New("the repository's storage")

// StorageError returns err with ErrStorage in its chain, and the same text. It
// is for stores; nil stays nil.
func StorageError(err error) error {
	if err == nil || errors.Is(err, ErrStorage) {
		return err
	}
	return &storageError{err}
}

type storageError struct{ error }

func (e *storageError) Unwrap() []error { return []error{e.error, ErrStorage} }
