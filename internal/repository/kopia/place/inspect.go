package place

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/kopia/kopia/repo/format"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

const (
	// BlobSuffix ends the name of every file that kopia sees.
	BlobSuffix = sharded.CompleteBlobSuffix
	// FormatFile is what makes a folder a repository. Nothing in the
	// repository can replace it.
	FormatFile = string(format.KopiaRepositoryBlobID) + BlobSuffix
)

// folderState says what is in a folder that should hold a repository.
type folderState int

const (
	stateMissing    folderState = iota // no such folder
	stateEmpty                         // nothing in it but what mkfs makes
	stateForeign                       // files that are not a repository's
	stateCreating                      // a repository that is being created
	stateHalf                          // parts of a repository, without a usable format blob
	stateRepository                    // a format blob; whether the key fits is another question
)

// inspect looks at a folder without changing it. found lists, for messages,
// some of what is there.
func inspect(path string) (state folderState, found []string, why string, err error) {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stateMissing, nil, "", nil
	case err != nil:
		return 0, nil, "", DiskError("look at repository folder", path, err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Name() != "lost+found" {
			names = append(names, e.Name())
		}
	}
	switch {
	case len(names) == 0:
		return stateEmpty, nil, "", nil
	case slices.Contains(names, creatingName):
		switch busy, err := beingCreated(path); {
		case errors.Is(err, fs.ErrNotExist): // finished since we looked
			return inspect(path)
		case err != nil:
			return 0, nil, "", DiskError("look at repository folder", path, err)
		case busy:
			return stateCreating, names, "", nil
		}
		return stateHalf, names, "its creation did not finish", nil
	case slices.Contains(names, FormatFile):
		raw, err := os.ReadFile(filepath.Join(path, FormatFile))
		if err != nil {
			return 0, nil, "", DiskError("read repository format", path, err)
		}
		var head format.KopiaRepositoryJSON
		if err := json.Unmarshal(raw, &head); err != nil || len(head.UniqueID) == 0 {
			return stateHalf, names, FormatFile + " cannot be read", nil
		}
		return stateRepository, names, "", nil
	case slices.ContainsFunc(names, kopiaName):
		return stateHalf, names, FormatFile + " is missing", nil
	}
	return stateForeign, names, "", nil
}

// kopiaName says whether a top-level name in a folder is one that a repository has.
func kopiaName(name string) bool {
	return name == sharded.ParametersFile || strings.HasPrefix(name, "kopia.") || strings.HasSuffix(name, BlobSuffix) ||
		slices.Contains([]string{"p", "q", "x"}, name)
}

// MustBeRepository returns a core.CodeNoRepository error that says what is in
// path unless it is a repository; core.CodeLocked while it becomes one.
func MustBeRepository(path string) error {
	return repository.StorageError(mustBeRepository(path))
}

func mustBeRepository(path string) error {
	const op = "open repository"
	state, found, why, err := inspect(path)
	if err != nil {
		return err
	}
	e := &core.Error{Code: core.CodeNoRepository, Op: op, Hint: "make one with `backstay init`"}
	switch state {
	case stateRepository:
		return nil
	case stateCreating:
		return creating(op, path)
	case stateMissing:
		e.Message = fmt.Sprintf("there is no folder %s", path)
		e.Hint = "make a repository with `backstay init`; if it is on another disk or a share, mount that first"
	case stateEmpty:
		e.Message = fmt.Sprintf("%s is empty", path)
		e.Hint = "make a repository with `backstay init`; if it is on another disk or a share, mount that first"
	case stateForeign:
		e.Message = fmt.Sprintf("%s holds %s, but no repository", path, some(found))
		e.Hint = "check the URL, or make a repository in another folder with `backstay init`"
	case stateHalf:
		e.Message = halfMessage(path, found, why)
		e.Hint = halfHint(path, why)
	}
	return e
}

func halfMessage(path string, found []string, why string) string {
	return fmt.Sprintf("%s holds parts of a repository (%s), but %s", path, some(found), why)
}

func halfHint(path, why string) string {
	if strings.Contains(why, "creation") {
		return fmt.Sprintf("nothing was ever stored in it: remove %s and run `backstay init` again", path)
	}
	return fmt.Sprintf("put %s back from a copy of the repository", FormatFile)
}

// Gone returns the error of MustBeRepository when the folder itself is
// missing, else nil.
func Gone(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return MustBeRepository(path)
	}
	return nil
}

// some joins up to five names.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Writable says whether this process may make files in path.
func Writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// Vacant returns nil when a repository can be made in path, and what Take would
// say when none can. It changes nothing.
func Vacant(path string) error {
	state, found, why, err := inspect(path)
	if err != nil {
		return err
	}
	return occupied(path, state, found, why)
}

// occupied says why no repository can be made in a folder; nil when one can.
func occupied(path string, state folderState, found []string, why string) error {
	const op = "create repository"
	switch state {
	case stateRepository:
		return &core.Error{
			Code: core.CodeFailed, Op: op, Message: path,
			Hint: "use it as it is (its key is needed), or choose another folder", Err: ErrExists,
		}
	case stateCreating:
		return creating(op, path)
	case stateForeign:
		return &core.Error{
			Code: core.CodeFailed, Op: op, Message: fmt.Sprintf("%s is not empty: it holds %s", path, some(found)),
			Hint: "choose a folder that is empty or does not exist yet",
		}
	case stateHalf:
		return &core.Error{
			Code: core.CodeNoRepository, Op: op, Message: halfMessage(path, found, why), Hint: halfHint(path, why),
		}
	}
	return nil
}

// ErrExists is the cause of the error of Take and Vacant when there is a repository already.
var ErrExists = errors.New("there is already a repository here")
