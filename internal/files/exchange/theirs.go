package exchange

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// Who owns a live folder can rename what is in it, folders of root's too that they may not
// even look into. A folder is moved away, and filled, only when it is the one that was compared or
// staged; files may be newer ones, which applications put there at any time.

func (l *insideLine) mark(i int) openat.Mark {
	if l == nil || i >= len(l.Marks) {
		return openat.Mark{}
	}
	return l.Marks[i]
}

// asStaged says whether what is in a slot is what Build put there, when nothing has been moved yet.
func (x *exchange) asStaged(m *move, is openat.Mark) (bool, error) {
	if x.p.pass != nil || m.Take {
		return true, nil
	}
	if !is.Known() || !is.Is(m.Mark) {
		return false, nil
	}
	if m.Ctime == 0 {
		return true, nil
	}
	dir, name, err := x.slotDir(m.Stage, m.Slot)
	if err != nil {
		return false, files.Failed("open staging folder of", string(m.Slot), err)
	}
	st, err := openat.Lstat(dir, name)
	if err != nil {
		return false, files.Failed("stat staged", string(m.Slot), err)
	}
	return st.Ctim.Nano() == m.Ctime && st.Size == m.Size, nil
}

// expected says whether what is live at a path of a pass is what was there when Build looked, or,
// on the way back, what was staged.
func (x *exchange) expected(m *move, dir int) (bool, error) {
	is, err := openat.MarkOf(dir, string(m.Name))
	if err != nil {
		return false, err
	}
	want := m.Was
	if x.to == Old {
		want = m.Staged
	}
	return !want.Known() && (m.Had || x.to == Old) || want.Known() && is.Is(want), nil
}

// leave has a path stay as it is, on both sides from now on.
func (x *exchange) leave(m *move) {
	m.Left, m.On = true, x.to
	message := "another folder was put there since; it stays, and what was there before the restore is kept in the staging folder"
	if m.Take {
		message = "it is not what was there when the restore looked; it stays"
		m.Left = false
	}
	x.warnings.Add("newer", x.real(m.placePath, m.Name), message)
}

// inTheWay says that somebody put a folder into the place of something that is to come.
func (x *exchange) inTheWay(m *move) error {
	return &core.Error{
		Code: core.CodeFailed, Op: "restore " + files.Quote(x.real(m.placePath, m.Name)), Message: "another folder was put there after the restore looked",
		Hint: "move it away, and restore again: backstay fills and replaces no folder that it has not looked into",
	}
}

// mayMerge refuses to have root fill a folder that came to be since Build looked and is not of the user who
// is to own it.
func (x *exchange) mayMerge(m *move, live *unix.Stat_t, restored bool) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, name, err := x.slotDir(m.Stage, m.Slot)
	if err != nil {
		return files.Failed("open staging folder of", string(m.Slot), err)
	}
	st, err := openat.Lstat(dir, name)
	if err != nil {
		return files.Failed("stat staged", string(m.Slot), err)
	}
	if st.Uid == live.Uid || restored {
		return nil
	}
	return x.inTheWay(m)
}

// blocked says whether a path is to stay as it is now, because a folder lies there that is
// neither what was compared nor what was staged.
func (x *exchange) blocked(dir int, m *move) (bool, error) {
	st, err := openat.Lstat(dir, string(m.Name))
	if openat.IsErrno(err, unix.ENOENT) || err == nil && !openat.IsDir(&st) {
		return false, nil
	}
	if err != nil || m.Take && x.to == Old {
		return false, err
	}
	mine, err := x.expected(m, dir)
	if err != nil || mine {
		return false, err
	}
	if x.to == New && !m.Take {
		return true, x.inTheWay(m)
	}
	x.leave(m)
	return true, nil
}

// giveBack looks at what came into a slot, and puts it back when it is a folder that somebody put
// into the way between a look and the move.
func (x *exchange) giveBack(slotDir int, slot string, dir int, m *move) error {
	is, st, err := openat.StatMark(slotDir, slot)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	want := m.Was
	if x.to == Old {
		want = m.Staged
	}
	if uint32(st.Mode)&unix.S_IFMT != unix.S_IFDIR || !want.Known() && (m.Had || x.to == Old) || is.Is(want) {
		return nil
	}
	if is.Is(m.Mark) {
		return nil // it has not moved
	}
	name := string(m.Name)
	if full, err := there(dir, name); err != nil {
		return err
	} else if full && !(m.Take && x.to == New) {
		if err := x.swap(slotDir, slot, dir, name); err != nil {
			return err
		}
	} else if err := x.rename(slotDir, slot, dir, name); err != nil {
		return err
	}
	return x.inTheWay(m)
}
