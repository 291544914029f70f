package drill

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql"
)

// sampling chooses what of a very large backup is looked at: some chunks of
// every table's rows, with the whole schema, the code and the configuration; and
// some of the users' files, which are read and not restored.
type sampling struct {
	share  float64
	seed   int64
	chunks map[string]bool // their files
	counts evidence.Sampled
}

// sample chooses, nil when all is to be looked at. The choice follows from the
// seed alone.
func (d *drill) sample() *sampling {
	if d.out.Mode != evidence.DrillSample {
		return nil
	}
	s := &sampling{share: d.req.Sample, seed: cmp.Or(d.req.Seed, seed()), chunks: map[string]bool{}}
	random := rand.New(rand.NewPCG(uint64(s.seed), 0)) //nolint:gosec // not a secret
	s.counts = evidence.Sampled{Seed: s.seed, SchemaWhole: true}
	for _, t := range d.open.Index.Tables {
		s.counts.Tables++
		s.counts.RowsOf += t.Rows
		s.counts.ChunksOf += int64(len(t.Chunks))
		for i, n := range random.Perm(len(t.Chunks)) {
			if i > 0 && float64(i) >= s.share*float64(len(t.Chunks)) {
				break // at least one of each table
			}
			s.chunks[t.Chunks[n].File] = true
			s.counts.Chunks++
			s.counts.Rows += t.Chunks[n].Rows
		}
	}
	d.out.Sampled = &s.counts
	return s
}

// narrow takes out of an opened backup what is not in the sample.
func (s *sampling) narrow(o *engine.Open) {
	var rows, bytes int64
	o.Index.Tables = slices.Clone(o.Index.Tables)
	for i := range o.Index.Tables {
		s.narrowTable(&o.Index.Tables[i])
		rows, bytes = rows+o.Index.Tables[i].Rows, bytes+o.Index.Tables[i].Bytes
	}
	if o.Manifest.Database != nil {
		db := *o.Manifest.Database
		db.Rows, db.Bytes = rows, bytes
		o.Manifest.Database = &db
	}
	o.Manifest.Components = slices.DeleteFunc(slices.Clone(o.Manifest.Components), func(c core.Component) bool { return c == core.ComponentFiles })
	o.Manifest.Trees = slices.DeleteFunc(slices.Clone(o.Manifest.Trees), func(t core.Tree) bool { return t.Component == core.ComponentFiles })
}

// narrowTable leaves a table the chunks of the sample. Its checksum is the sum
// of theirs (docs/spec/backup-layout.md).
func (s *sampling) narrowTable(t *core.Table) {
	all := t.Chunks
	t.Chunks, t.Rows, t.Bytes, t.History, t.Generated = nil, 0, 0, nil, nil
	var sum mysql.RowSum
	for _, c := range all {
		if !s.chunks[c.File] {
			continue
		}
		part, err := mysql.ParseRowSum(c.Checksum)
		if err != nil {
			continue // then the table's checksum differs, and the drill says so
		}
		sum.Add(part)
		t.Chunks = append(t.Chunks, c)
		t.Rows, t.Bytes = t.Rows+c.Rows, t.Bytes+c.Bytes
	}
	t.Checksum = sum.String()
}

// readSample reads back some of the users' files.
func (d *drill) readSample(ctx context.Context, s *sampling) error {
	end := d.watch.begin("read a sample of the files", false)
	defer end()
	var of, taken int64
	for _, t := range d.open.Manifest.Trees {
		if t.Component == core.ComponentFiles {
			of += t.Files
		}
	}
	random := rand.New(rand.NewPCG(uint64(s.seed), 1)) //nolint:gosec // not a secret
	salt := random.Uint64()
	prefix := string(core.ComponentFiles) + "/"
	choose := func(p string) bool { return fraction(p, salt) < s.share }
	leaf := map[string]bool{}
	err := d.walkFiles(ctx, func(p string) {
		if choose(p) {
			taken++
			leaf[p] = true
		}
	})
	if err != nil {
		return err
	}
	folders := map[string]bool{}
	for p := range leaf {
		for at := path.Dir(p); at != "."; at = path.Dir(at) {
			folders[at] = true
		}
	}
	damaged, err := d.e.ReadBack(ctx, d.open, func(p string) bool {
		return leaf[p] || folders[p] || p == strings.TrimSuffix(prefix, "/")
	})
	if err != nil {
		return err
	}
	s.counts.Files, s.counts.FilesOf = taken, of
	for _, x := range damaged[:min(len(damaged), maxListed)] {
		d.prove(core.Proof{Name: ProofFiles, Outcome: core.ProofFailed, Object: x.Path, Message: x.Message, Hint: "backstay verify --repair " + d.req.App})
	}
	if len(damaged) == 0 {
		d.prove(core.Proof{Name: ProofFiles, Outcome: core.ProofOK, Message: fmt.Sprintf("a sample of %d of %d of the users' files was read back whole from the repository; they were not restored", taken, of), Count: taken})
	}
	return nil
}

// fraction makes a number from 0 to 1 of a path.
func fraction(p string, salt uint64) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s", salt, p)
	return float64(h.Sum64()>>11) / (1 << 53)
}

// walkFiles visits the users' files of the backup.
func (d *drill) walkFiles(ctx context.Context, visit func(p string)) error {
	var below func(at string, dir core.Entry) error
	below = func(at string, dir core.Entry) error {
		entries, err := d.open.ReadDir(ctx, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			p := path.Join(at, e.Name)
			if e.Type != core.TypeDir {
				visit(p)
			} else if err := below(p, e); err != nil {
				return err
			}
		}
		return nil
	}
	top, err := d.open.Lookup(ctx, string(core.ComponentFiles))
	if core.CodeOf(err) == core.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return below(string(core.ComponentFiles), top)
}
