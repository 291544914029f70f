package files

import (
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// OwnerMap turns the ids of the machine of origin into this machine's, by name.
// It is safe for concurrent use.
type OwnerMap struct {
	names core.Owners
	mu    sync.Mutex
	users map[uint32]uint32
	group map[uint32]uint32
}

// NewOwnerMap returns the map for a manifest's owners.
func NewOwnerMap(names core.Owners) *OwnerMap {
	return &OwnerMap{names: names, users: map[uint32]uint32{}, group: map[uint32]uint32{}}
}

// IDs returns an entry's owner and group here: what the name is here, or, for a
// name that is not known here, the number there.
func (m *OwnerMap) IDs(e core.Entry) (uid, gid uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid, ok := m.users[e.UID]
	if !ok {
		uid = e.UID
		if u, err := user.Lookup(m.names.Users[strconv.FormatUint(uint64(uid), 10)]); err == nil {
			uid = parseID(u.Uid, uid)
		}
		m.users[e.UID] = uid
	}
	gid, ok = m.group[e.GID]
	if !ok {
		gid = e.GID
		if g, err := user.LookupGroup(m.names.Groups[strconv.FormatUint(uint64(gid), 10)]); err == nil {
			gid = parseID(g.Gid, gid)
		}
		m.group[e.GID] = gid
	}
	return uid, gid
}

func parseID(s string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}

// UnixMode returns permission bits with setuid, setgid and sticky, as chmod takes them.
func UnixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		u |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		u |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		u |= unix.S_ISVTX
	}
	return u
}

// ShellQuote returns a word that a POSIX shell reads as s.
func ShellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
