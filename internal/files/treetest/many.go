package treetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Many says what a large tree of small files is made of.
type Many struct {
	Files    int // how many
	Min, Max int // size of a file in bytes; small ones are more frequent: the mean is Min + (Max-Min)/2.35
	InFolder int // files in a folder; 0: 250
}

// ManyFiles makes a tree of files files of 0.5 to 20 kB, 8.8 kB on average,
// below root, which must not hold them yet.
func ManyFiles(root string, files int) error {
	return Many{Files: files, Min: 500, Max: 20_000}.Write(root)
}

// Write makes the tree: a third of the files are text, a third are already
// compressed, a third half and half; modes and times differ. Equal trees have
// equal contents, modes and times, whenever and wherever they are made.
func (m Many) Write(root string) error {
	if m.InFolder <= 0 {
		m.InFolder = 250
	}
	folders := (m.Files + m.InFolder - 1) / m.InFolder
	next := make(chan int)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var pool sync.WaitGroup
	for i := range errs {
		pool.Go(func() {
			for n := range next {
				if errs[i] == nil {
					errs[i] = m.folder(root, n)
				}
			}
		})
	}
	for n := range folders {
		next <- n
	}
	close(next)
	pool.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("make a tree of many files: %w", err)
		}
	}
	// Last, because making what is in them changed them.
	for n := range folders {
		at := time.Unix(1_600_000_000+int64(n), 0)
		if err := os.Chtimes(manyFolder(root, n), at, at); err != nil {
			return fmt.Errorf("make a tree of many files: %w", err)
		}
	}
	return nil
}

func manyFolder(root string, n int) string {
	return filepath.Join(root, fmt.Sprintf("%02d", n%20), fmt.Sprintf("folder-%05d", n))
}

func (m Many) folder(root string, n int) error {
	dir := manyFolder(root, n)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := n * m.InFolder; i < min((n+1)*m.InFolder, m.Files); i++ {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		size := m.Min + int(float64(m.Max-m.Min)*math.Pow(r.Float64(), 1.35))
		path := filepath.Join(dir, fmt.Sprintf("file-%07d.%s", i, []string{"txt", "jpg", "dat"}[i%3]))
		if err := os.WriteFile(path, manyBytes(r, size, i%3), []os.FileMode{0o644, 0o640, 0o600}[i/3%3]); err != nil {
			return err
		}
		at := time.Unix(1_500_000_000+r.Int64N(100_000_000), r.Int64N(1_000_000_000))
		if err := os.Chtimes(path, at, at); err != nil {
			return err
		}
	}
	return nil
}

// manyBytes returns text (kind 0), noise (kind 1), or half of each.
func manyBytes(r *rand.Rand, size, kind int) []byte {
	b := make([]byte, 0, size+16)
	text := []int{size, 0, size / 2}[kind]
	for len(b) < text {
		b = append(b, manyWords[r.IntN(len(manyWords))]...)
		b = append(b, ' ')
		if r.IntN(12) == 0 {
			b = fmt.Appendf(b, "%d\n", r.IntN(1_000_000))
		}
	}
	for len(b) < size {
		v := r.Uint64()
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	return b[:size]
}

var manyWords = []string{
	"ticket", "request", "server", "the", "was", "not", "restarted", "because", "customer", "reported",
	"that", "invoice", "attachment", "is", "missing", "please", "see", "configuration", "item", "change",
	"approved", "rejected", "by", "manager", "network", "switch", "on", "floor", "and", "printer",
	"replaced", "warranty", "contract", "expires", "after", "update", "of", "database", "service", "closed",
}
