package facts

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/files"
)

// What is looked into.
const (
	mostFiles   = 150      // files in all
	mostChanged = 100      // of them such as changed
	leastBytes  = 4 << 10  // smaller files say too little
	headBytes   = 64 << 10 // of each file's beginning
	middleBytes = 16 << 10 // and of its middle
	mostFolders = 20_000   // that are listed, in the order of their names
	mostNoisy   = 5        // paths that are named
	readers     = 4        // files that are read at the same time
)

// candidate is a file that may be looked into.
type candidate struct {
	path string
	rank uint64 // by its path: the same file is chosen again in the next backup
	file core.Object
}

// chosen holds the candidates of the lowest ranks, the highest of them first.
type chosen struct {
	list []candidate
	most int
}

func (c chosen) Len() int           { return len(c.list) }
func (c chosen) Less(i, j int) bool { return compare(c.list[i], c.list[j]) > 0 }
func (c chosen) Swap(i, j int)      { c.list[i], c.list[j] = c.list[j], c.list[i] }
func (c *chosen) Push(x any)        { c.list = append(c.list, x.(candidate)) }
func (c *chosen) Pop() any {
	last := c.list[len(c.list)-1]
	c.list = c.list[:len(c.list)-1]
	return last
}

var _ heap.Interface = (*chosen)(nil)

func compare(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.path, b.path))
}

func (c *chosen) offer(x candidate) {
	if heap.Push(c, x); c.Len() > c.most {
		heap.Pop(c)
	}
}

// sampler chooses files and looks into them.
type sampler struct {
	store         core.TreeReader
	changed, same chosen
	total         int64
	folders       int
	cut           bool // there were more folders than are listed
	damaged       int
	damagedObject string // the first
}

func (s *sampler) sample(ctx context.Context, o *engine.Open, earlier *core.Entry) (*core.Sample, error) {
	s.changed.most, s.same.most = mostFiles, mostFiles
	root, err := o.Lookup(ctx, string(core.ComponentFiles))
	if core.CodeOf(err) == core.CodeNotFound {
		return nil, nil
	}
	if err == nil {
		err = s.walk(ctx, string(core.ComponentFiles), root, earlier)
	}
	if err := s.passOver(string(core.ComponentFiles), err); err != nil {
		return nil, err
	}
	list := s.choose()
	noisy, err := s.look(ctx, list)
	if err != nil {
		return nil, err
	}
	out := &core.Sample{Files: len(list), Noise: 0, Total: s.total}
	for i, seen := range noisy {
		switch {
		case seen.err != nil:
			out.Files--
			if err := s.passOver(list[i].path, seen.err); err != nil {
				return nil, err
			}
		case seen.noise:
			out.Noise++
			out.Noisy = append(out.Noisy, files.Quote(list[i].path))
		}
	}
	slices.Sort(out.Noisy)
	out.Noisy = out.Noisy[:min(len(out.Noisy), mostNoisy)]
	out.Reason = s.reason()
	return out, nil
}

// choose takes files that changed before others, and some of the others, whose
// share is known from earlier backups.
func (s *sampler) choose() []candidate {
	changed := slices.SortedFunc(slices.Values(s.changed.list), compare)
	same := slices.SortedFunc(slices.Values(s.same.list), compare)
	first := min(len(changed), max(mostChanged, mostFiles-len(same)))
	return slices.Concat(changed[:first], same[:min(len(same), mostFiles-first)])
}

// passOver notes damage, and returns any other error.
func (s *sampler) passOver(object string, err error) error {
	if err == nil || core.CodeOf(err) != core.CodeDamage {
		return err
	}
	if s.damaged++; s.damagedObject == "" {
		s.damagedObject = files.Quote(object)
	}
	return nil
}

func (s *sampler) reason() string {
	var parts []string
	if s.damaged > 0 {
		parts = append(parts, fmt.Sprintf("%d files or folders could not be looked into, because they are damaged in the repository, the first of them %s", s.damaged, s.damagedObject))
	}
	if s.cut {
		parts = append(parts, fmt.Sprintf("only the first %d folders were looked into", mostFolders))
	}
	return strings.Join(parts, "; ")
}

// walk goes through a folder, and what it was in an earlier backup: nil, not
// known or not there.
func (s *sampler) walk(ctx context.Context, at string, dir core.Entry, earlier *core.Entry) error {
	if s.folders++; s.folders > mostFolders {
		s.cut = true
		return nil
	}
	entries, err := s.store.ReadDir(ctx, dir.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	unchanged := earlier != nil && earlier.Object.ID == dir.Object.ID
	var before map[string]core.Entry
	if earlier != nil && !unchanged {
		if before, err = s.names(ctx, *earlier); err != nil {
			return err
		}
	}
	slices.SortFunc(entries, func(a, b core.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range entries {
		p := path.Join(at, e.Name)
		was, known := before[e.Name]
		switch {
		case e.Type == core.TypeDir:
			var then *core.Entry
			switch {
			case unchanged:
				then = &e
			case known && was.Type == core.TypeDir:
				then = &was
			case before != nil:
				then = &core.Entry{} // a new folder: all in it is
			}
			if err := s.passOver(p, s.walk(ctx, p, e, then)); err != nil {
				return err
			}
		case e.Type == core.TypeFile && e.Object.Size >= leastBytes:
			s.total++
			sum := sha256.Sum256([]byte(p))
			c := candidate{path: p, rank: binary.BigEndian.Uint64(sum[:]), file: e.Object}
			if before != nil && (!known || was.Object.ID != e.Object.ID) {
				s.changed.offer(c)
			} else {
				s.same.offer(c)
			}
		}
	}
	return nil
}

// names lists a folder of an earlier backup. One that is damaged or was not there
// has nothing in it.
func (s *sampler) names(ctx context.Context, dir core.Entry) (map[string]core.Entry, error) {
	out := map[string]core.Entry{}
	if dir.Object.ID == "" {
		return out, nil
	}
	entries, err := s.store.ReadDir(ctx, dir.Object.ID)
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		return nil, err
	}
	for _, e := range entries {
		out[e.Name] = e
	}
	return out, nil
}

// seen is what a file turned out to be.
type seen struct {
	noise bool
	err   error // it is damaged
}

// look reads some of each file.
func (s *sampler) look(ctx context.Context, list []candidate) ([]seen, error) {
	out := make([]seen, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, c := range list {
		g.Go(func() error {
			noise, err := s.noise(gctx, c)
			if core.CodeOf(err) == core.CodeDamage {
				out[i].err = err
				return nil
			}
			out[i].noise = noise
			return err
		})
	}
	return out, g.Wait()
}

func (s *sampler) noise(ctx context.Context, c candidate) (_ bool, err error) {
	r, err := s.store.Open(ctx, c.file.ID)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", c.path, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	head, err := io.ReadAll(io.LimitReader(r, headBytes))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", c.path, err)
	}
	if known(head) {
		return false, nil
	}
	half := c.file.Size / 2
	middle := head[min(int64(len(head)), half):]
	if c.file.Size > headBytes {
		if _, err := r.Seek(half, io.SeekStart); err != nil {
			return false, fmt.Errorf("read %s: %w", c.path, err)
		}
		if middle, err = io.ReadAll(io.LimitReader(r, middleBytes)); err != nil {
			return false, fmt.Errorf("read %s: %w", c.path, err)
		}
	}
	return isNoise(head) || isNoise(middle), nil
}

// known says whether bytes at the beginning of a file say what it is: formats
// that are packed, and so look like noise further on.
func known(head []byte) bool {
	for _, m := range magics() {
		if len(head) >= m.at+len(m.is) && string(head[m.at:m.at+len(m.is)]) == m.is {
			return true
		}
	}
	return bytes.Contains(head[:min(len(head), 1024)], []byte("%PDF-")) // readers allow for something before it
}
