package archivetest

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testTruncated cuts the archive: not one of the pieces may pass for whole.
func testTruncated(t *testing.T, c Case) {
	data, _ := write(t, c, Sample(t, c.Profile))
	b := newSandbox(t)
	cut := func(t *testing.T, data []byte) {
		t.Helper()
		_, refused, err := read(t.Context(), c.Format, store(t, c.fileName(), data), c.openOptions(b))
		if refused == nil {
			t.Errorf("it passes for whole; read: %v", err)
		}
	}
	step := len(data)/250 + 1
	if c.Block > 0 && c.Unpack == nil {
		step = c.Block
	}
	for n := 0; n < len(data); n += step {
		t.Run(fmt.Sprintf("at %d of %d", n, len(data)), func(t *testing.T) { cut(t, data[:n]) })
	}
	for n := 1; n <= 40; n++ {
		t.Run(fmt.Sprintf("%d bytes short", n), func(t *testing.T) { cut(t, data[:len(data)-n]) })
	}
	if c.Unpack == nil {
		return
	}
	unpacked := c.Unpack(t, data)
	step = c.Block
	for step*300 < len(unpacked) {
		step += c.Block
	}
	for n := 0; n < len(unpacked); n += step {
		t.Run(fmt.Sprintf("packed anew, at %d of %d", n, len(unpacked)), func(t *testing.T) { cut(t, c.Repack(t, unpacked[:n])) })
	}
	for n := 1; n <= 4*c.Block; n += max(1, c.Block/2) {
		t.Run(fmt.Sprintf("packed anew, %d bytes short", n), func(t *testing.T) { cut(t, c.Repack(t, unpacked[:len(unpacked)-n])) })
	}
	if whole := c.Repack(t, unpacked); !bytes.Equal(c.Unpack(t, whole), unpacked) {
		t.Error("Repack and Unpack do not fit together")
	} else {
		mustRead(t, c, store(t, c.fileName(), whole), c.openOptions(b))
	}
}

// testFlipped changes single bits: each is found, or changes nothing.
func testFlipped(t *testing.T, c Case) {
	data, _ := write(t, c, Sample(t, c.Profile))
	f := store(t, c.fileName(), data)
	b := newSandbox(t)
	whole := mustRead(t, c, f, c.openOptions(b))
	found, harmless := 0, 0
	flip := func(at, bit int) {
		changed := []byte{data[at] ^ 1<<bit}
		if _, err := f.WriteAt(changed, int64(at)); err != nil {
			t.Fatal(err)
		}
		got, refused, err := read(t.Context(), c.Format, f, c.openOptions(b))
		switch {
		case refused != nil:
			found++
		case err != nil:
			t.Errorf("bit %d of byte %d: Check finds nothing, and then: %v", bit, at, err)
		default:
			got.Info = whole.Info // what an archive says of itself may be in bytes that nothing guards
			if diff := cmp.Diff(whole, got); diff != "" {
				t.Errorf("bit %d of byte %d is not found and changes what is read:\n%s", bit, at, diff)
			}
			harmless++
		}
		if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	const places = 220
	for n := range places {
		flip(n*len(data)/places, n%8)
	}
	for n := range min(24, len(data)/2) {
		flip(n, (n*3+1)%8)
		flip(len(data)-1-n, n%8)
	}
	t.Logf("%d flips found, %d harmless", found, harmless)
	if found == 0 {
		t.Error("no flip was found")
	}
	mustRead(t, c, f, c.openOptions(b))
}

// testAround puts bytes before and behind the archive.
func testAround(t *testing.T, c Case) {
	data, _ := write(t, c, Sample(t, c.Profile))
	b := newSandbox(t)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	zip := []byte("PK\x05\x06" + string(make([]byte, 18)))
	for name, changed := range map[string][]byte{
		"prepended byte":    join([]byte("x"), data),
		"prepended zeros":   join(make([]byte, 512), data),
		"prepended script":  join([]byte("#!/bin/sh\nexit 0\n"), data),
		"prepended archive": join(data, data),
		"appended byte":     join(data, []byte("x")),
		"appended zeros":    join(data, make([]byte, 512)),
		"appended text":     join(data, []byte("\nand more\n")),
		"appended zip":      join(data, zip),
		"appended gzip":     join(data, emptyGzip()),
		"appended archive":  join(data, data[:len(data)/2]),
	} {
		c.verdict(t, name, changed, b, Hostile{Accept: c.accepts(name)})
	}
}

// emptyGzip is a gzip member of no bytes.
func emptyGzip() []byte {
	return []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
}

// testReadFails closes the file under an open archive.
func testReadFails(t *testing.T, c Case) {
	data, _ := write(t, c, Sample(t, c.Profile))
	b := newSandbox(t)
	for _, after := range []string{"open", "check"} {
		f, err := os.Open(store(t, c.fileName(), data).Name())
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Format.Open(t.Context(), f, c.openOptions(b))
		if err != nil {
			t.Fatal(err)
		}
		if after == "check" {
			if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
				t.Fatal(err, flaws)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if after == "open" {
			if flaws, err := a.Check(t.Context()); err == nil {
				t.Errorf("Check of a file that cannot be read gives no error, and the flaws %v", flaws)
			}
		}
		// An archive may have unpacked all of itself by then.
		_ = a.Close()
	}
}
