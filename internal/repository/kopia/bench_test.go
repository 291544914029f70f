package kopia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/object"

	"github.com/backstay/backstay/internal/core"
)

// benchRows returns about size bytes of rows as a dump writes them: half of a
// ticket system's texts, half of attachments of 165 kB that do not compress.
func benchRows(random *rand.Rand, size int, attachments bool) []byte {
	words := make([]string, 4000)
	for i := range words {
		w := make([]byte, 3+random.IntN(9))
		for j := range w {
			w[j] = "etaoinshrdlucmfwypvbgk"[min(random.IntN(22), random.IntN(22))]
		}
		words[i] = string(w)
	}
	var b bytes.Buffer
	for id := 1000; b.Len() < size; id++ {
		fmt.Fprintf(&b, "%d\tR-%06d\t2026-01-%02d %02d:%02d:00\t%d\tongoing\t", id, id, 1+id/500%28, id/60%24, id%60, random.IntN(300))
		if attachments {
			raw := make([]byte, 165_000)
			for i := 0; i+8 <= len(raw); i += 8 {
				v := random.Uint64() | 0x1010101010101010 // no tab, newline or NUL to escape
				for j := range 8 {
					raw[i+j] = byte(v >> (8 * j))
				}
			}
			b.Write(raw)
		} else {
			for range 20 + random.IntN(120) {
				b.WriteString(words[min(random.IntN(len(words)), random.IntN(len(words)))])
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// withInsertion returns data with a line more in the middle.
func withInsertion(data []byte) []byte {
	at := len(data)/2 + bytes.IndexByte(data[len(data)/2:], '\n') + 1
	return bytes.Join([][]byte{data[:at], []byte("999\tR-000999\tinserted\n"), data[at:]}, nil)
}

// BenchmarkFormat measures what docs/adr/0001-repository-engine.md decides on:
// bytes per second, bytes stored at first, and bytes stored for the same files
// with a row more in the middle of each. Run it with -benchtime=1x.
func BenchmarkFormat(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	var files, changed [][]byte
	for i := range 12 {
		data := benchRows(random, 16<<20, i%3 == 2)
		files, changed = append(files, data), append(changed, withInsertion(data))
	}
	var total int64
	for _, f := range files {
		total += int64(len(f))
	}
	for _, splitter := range []string{"FIXED-4M", "DYNAMIC-1M-BUZHASH", "DYNAMIC-2M-BUZHASH", "DYNAMIC-4M-BUZHASH"} {
		for _, compressor := range []compression.Name{"", "s2-default", "zstd-fastest", "zstd"} {
			name := string(compressor)
			if name == "" {
				name = "none"
			}
			b.Run(splitter+"/"+name, func(b *testing.B) {
				for b.Loop() {
					w, stored := benchSession(b, splitter)
					start := time.Now()
					benchWrite(b, w, compressor, files)
					b.ReportMetric(float64(total)/1e6/time.Since(start).Seconds(), "MB/s")
					first := stored.Load()
					start = time.Now()
					benchWrite(b, w, compressor, changed)
					b.ReportMetric(float64(total)/1e6/time.Since(start).Seconds(), "MB/s-again")
					b.ReportMetric(float64(first)/1e6, "MB-stored")
					b.ReportMetric(float64(stored.Load()-first)/1e6, "MB-stored-again")
				}
			})
		}
	}
}

// benchSession makes a repository with the splitter and begins to write.
func benchSession(b *testing.B, splitter string) (kopiarepo.DirectRepositoryWriter, *atomic.Int64) {
	b.Helper()
	opts, err := Options{URL: "file://" + b.TempDir(), Password: core.NewSecret("key"), Hostname: "h"}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		b.Fatal(err)
	}
	st := newFileStorage(loc.path, nil)
	if err := kopiarepo.Initialize(b.Context(), st, &kopiarepo.NewRepositoryOptions{
		BlockFormat:  format.ContentFormat{Hash: hashAlgorithm, Encryption: encryptionAlgorithm, EnablePasswordChange: true},
		ObjectFormat: format.ObjectFormat{Splitter: splitter},
	}, opts.Password.Reveal()); err != nil {
		b.Fatal(err)
	}
	s, err := open(b.Context(), opts, loc, st)
	if err != nil {
		b.Fatal(err)
	}
	stored := &atomic.Int64{}
	_, w, err := s.rep.NewDirectWriter(b.Context(), kopiarepo.WriteSessionOptions{OnUpload: func(n int64) { stored.Add(n) }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx := context.WithoutCancel(b.Context())
		if err := errors.Join(w.Close(ctx), s.Close(ctx)); err != nil {
			b.Error(err)
		}
	})
	return w, stored
}

// benchWrite stores files, as many at once as there are processors.
func benchWrite(b *testing.B, w kopiarepo.DirectRepositoryWriter, compressor compression.Name, files [][]byte) {
	b.Helper()
	queue, errs := make(chan []byte), make(chan error)
	workers := runtime.GOMAXPROCS(0)
	for range workers {
		go func() {
			var failed error
			for data := range queue {
				out := w.NewObjectWriter(b.Context(), object.WriterOptions{Compressor: compressor, MetadataCompressor: metadataCompressor})
				_, err := bytes.NewReader(data).WriteTo(out)
				if err == nil {
					_, err = out.Result()
				}
				failed = errors.Join(failed, err, out.Close())
			}
			errs <- failed
		}()
	}
	for _, data := range files {
		queue <- data
	}
	close(queue)
	for range workers {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Error(err)
	}
}

// BenchmarkCheckReuse is what Commit's check costs for a backup of 100,000
// contents that are all in the repository already, in folders of 100.
func BenchmarkCheckReuse(b *testing.B) {
	opts := Options{URL: "file://" + b.TempDir() + "/r", Password: core.NewSecret("key"), Hostname: "h"}
	if err := Create(b.Context(), opts); err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.WithoutCancel(b.Context()))
	begun, err := s.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer begun.Abort()
	var folders []core.Entry
	for n := range 1000 {
		var files []core.Entry
		for m := range 100 {
			f, err := begun.Create(b.Context(), "f")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fmt.Fprintf(f, "content %d %d", n, m); err != nil {
				b.Fatal(err)
			}
			o, err := f.Finish()
			if err := errors.Join(err, f.Close()); err != nil {
				b.Fatal(err)
			}
			files = append(files, core.Entry{Name: fmt.Sprintf("attachment %d.pdf", m), Type: core.TypeFile, Object: o})
		}
		o, err := begun.WriteDir(b.Context(), files)
		if err != nil {
			b.Fatal(err)
		}
		folders = append(folders, core.Entry{Name: fmt.Sprintf("%d", n), Type: core.TypeDir, Object: o})
	}
	root, err := begun.WriteDir(b.Context(), folders)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := begun.Commit(b.Context(), root, core.Backup{ID: "b", App: "a"}); err != nil {
		b.Fatal(err)
	}
	again, err := s.Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer again.Abort()
	for b.Loop() {
		if err := again.(*session).checkReuse(b.Context(), root.ID); err != nil {
			b.Fatal(err)
		}
	}
}
