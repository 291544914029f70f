package mysql

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func appendLength(dst []byte, n uint64) []byte {
	switch {
	case n < 0xfb:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.LittleEndian.AppendUint16(append(dst, 0xfc), uint16(n))
	case n < 1<<24:
		return append(dst, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xfe), n)
}

func appendValue(dst, v []byte) []byte { return append(appendLength(dst, uint64(len(v))), v...) }

// FuzzNextValue: whatever a peer sends as a row is taken apart without a panic,
// and what is taken is part of it.
func FuzzNextValue(f *testing.F) {
	for _, seed := range [][]byte{{}, {0}, {0xfb}, {1, 'a', 0xfb, 0}, {0xfc}, {0xfc, 1, 0, 'x'}, {0xfd, 0, 0}, {0xfe, 255, 255, 255, 255, 255, 255, 255, 255}, {0xff, 1}, {250}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		rest := row
		for len(rest) > 0 {
			value, null, next, err := NextValue(rest)
			if err != nil {
				return
			}
			if null && value != nil || len(next)+len(value) >= len(rest) {
				t.Fatalf("took %d of %d bytes, left %d", len(value), len(rest), len(next))
			}
			rest = next
		}
	})
}

// FuzzRowReader: a large row taken apart piece by piece gives the same line,
// or the same refusal, as one taken whole.
func FuzzRowReader(f *testing.F) {
	for _, seed := range [][]byte{{}, {0}, {0xfb}, {1, 'a', 0xfb, 0}, {0xfc}, {0xfc, 1, 0, '\t'}, {0xfd, 0, 0}, {0xfe, 1, 0, 0, 0, 0, 0, 0, 0, 'a'}, {3, '\\', '\n', 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		var whole, pieces lines
		one, many := Encoder{Sink: &whole}, Encoder{Sink: &pieces}
		errWhole := one.Row(row)
		c := newConn(replay{bytes.NewReader(row)})
		errPieces := many.LargeRow(&RowReader{c: c, left: len(row), last: true})
		if (errWhole == nil) != (errPieces == nil) {
			t.Fatalf("whole: %v, in pieces: %v", errWhole, errPieces)
		}
		if errWhole != nil {
			return
		}
		if diff := cmp.Diff(whole.String(), pieces.String()); diff != "" {
			t.Fatal(diff)
		}
		if one.Sum != many.Sum || one.Last != many.Last || one.Rows != many.Rows {
			t.Fatal("the checksums differ")
		}
	})
}

// FuzzEscape: what is escaped reads back to the same bytes, and a value in a
// line has neither tab nor newline.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", `\N`, `N`, "\\", "\t\n\\", strings.Repeat("x", 31) + "\t", strings.Repeat("\\", 40), strings.Repeat("ab\tcd\nef\\gh", 9), "\x00"} {
		f.Add([]byte(seed), []byte("b"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var line lines
		e := Encoder{Sink: &line, Columns: 3}
		row := appendValue(append(appendValue(nil, a), 0xfb), b)
		if err := e.Row(row); err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutSuffix(line.String(), "\n")
		if !ok || strings.Count(text, "\t") != 2 || strings.Contains(text, "\n") {
			t.Fatalf("line %q", line.String())
		}
		rest := []byte(text)
		for i, want := range [][]byte{a, nil, b} {
			value, null, next, more, err := NextField(nil, rest)
			if err != nil || null != (want == nil && i == 1) || !bytes.Equal(value, want) || more != (i < 2) {
				t.Fatalf("value %d is %q, null %v, more %v, error %v; want %q", i, value, null, more, err, want)
			}
			rest = next
		}
		if _, err := AppendRowLiteral(nil, []byte(text), 3, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := AppendRowLiteral(nil, []byte(text), 2, nil); err == nil {
			t.Fatal("a value too many was taken")
		}
	})
}

// FuzzNextField: no line makes it panic, and taking a line apart ends.
func FuzzNextField(f *testing.F) {
	for _, seed := range []string{"", "\t", `a\`, `\x`, `\N`, `\\N`, "a\tb\t", `\t\n\\`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		want := bytes.Count(line, []byte("\t")) + 1
		for n := 0; ; n++ {
			_, _, rest, more, err := NextField(nil, line)
			if err != nil {
				return
			}
			if !more {
				if n+1 != want {
					t.Fatalf("%d values, want %d", n+1, want)
				}
				return
			}
			line = rest
		}
	})
}

// FuzzAnswers: no answer makes the parsers panic.
func FuzzAnswers(f *testing.F) {
	for _, seed := range [][]byte{{0, 0, 0, 2, 0, 0, 0}, {0, 0xfe}, {0xff, 1, 2}, []byte("\xff\x15\x04#28000no"), {0xff}, {10}, []byte("\x0a8.0\x00")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 {
			return // an answer has a first byte
		}
		if _, err := parseOK(p); err == nil && len(p) < 7 {
			t.Fatalf("%x passed for an OK", p)
		}
		if err := parseError(p); err == nil {
			t.Fatal("no error")
		}
		g, err := parseGreeting(p)
		if err == nil && len(g.salt) < 20 {
			t.Fatalf("a salt of %d bytes", len(g.salt))
		}
	})
}

// FuzzAuthenticator: no answer of a server during the login makes it panic or
// gives the password away where others can hear it.
func FuzzAuthenticator(f *testing.F) {
	for _, plugin := range []string{pluginNative, pluginCachingSHA2, pluginSHA256, pluginED25519, "unix_socket", "dialog", ""} {
		f.Add(plugin, []byte("01234567890123456789\x00"), []byte{4})
		f.Add(plugin, bytes.Repeat([]byte{7}, 32), []byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	}
	f.Fuzz(func(t *testing.T, plugin string, salt, more []byte) {
		a := authenticator{plugin: plugin, salt: salt, password: "topsecret"}
		first, _, err := a.first()
		if bytes.Contains(first, []byte("topsecret")) {
			t.Fatal("password in clear")
		}
		if err != nil {
			return
		}
		answer, err := a.more(more)
		if err == nil && bytes.Contains(answer, []byte("topsecret")) {
			t.Fatal("password in clear")
		}
	})
}

type lines struct{ strings.Builder }

func (l *lines) WriteRow(piece []byte, _ bool) error {
	l.Write(piece)
	return nil
}

// replay is a connection whose peer has said everything already.
type replay struct{ r io.Reader }

func (c replay) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c replay) Write(p []byte) (int, error)      { return len(p), nil }
func (c replay) Close() error                     { return nil }
func (c replay) LocalAddr() net.Addr              { return nil }
func (c replay) RemoteAddr() net.Addr             { return nil }
func (c replay) SetDeadline(time.Time) error      { return nil }
func (c replay) SetReadDeadline(time.Time) error  { return nil }
func (c replay) SetWriteDeadline(time.Time) error { return nil }

// TestLargeRowAcrossPackets splits a row's payload into packets of the largest
// size; where they end must not matter, even within a length.
func TestLargeRowAcrossPackets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	blob := make([]byte, maxPacket+12345)
	for i := range blob {
		blob[i] = byte(random.Uint32())
	}
	for _, lead := range []int{maxPacket - 6, maxPacket - 5, maxPacket - 4, maxPacket - 1, maxPacket, 70004} {
		row := appendValue(nil, blob[:lead-4]) // 4 bytes of length: the next value begins at lead
		row = append(appendValue(row, blob[:70000]), 0xfb)
		row = appendValue(row, []byte("end\t"))
		var stream []byte
		seq := byte(0)
		for rest := row; ; {
			n := min(len(rest), maxPacket)
			stream = append(stream, byte(n), byte(n>>8), byte(n>>16), seq)
			stream = append(stream, rest[:n]...)
			rest = rest[n:]
			seq++
			if n < maxPacket {
				break
			}
		}
		c := newConn(replay{iotest.HalfReader(bytes.NewReader(stream))})
		length, err := c.readHeader()
		if err != nil {
			t.Fatal(err)
		}
		var whole, pieces lines
		one, many := Encoder{Sink: &whole, Columns: 4}, Encoder{Sink: &pieces, Columns: 4}
		r := &RowReader{c: c, left: length, last: length < maxPacket}
		if err := many.LargeRow(r); err != nil {
			t.Fatalf("second value at %d: %v", lead, err)
		}
		if r.left != 0 || !r.last {
			t.Errorf("second value at %d: the row was not read to its end", lead)
		}
		if err := one.Row(row); err != nil {
			t.Fatal(err)
		}
		if whole.String() != pieces.String() || one.Sum != many.Sum {
			t.Errorf("second value at %d: the rows differ", lead)
		}
	}
}

func TestVersionNumber(t *testing.T) {
	for version, want := range map[string]int{
		"10.11.6-MariaDB-0+deb12u1": 101106, "8.0.36": 80036, "8.4.3-debug": 80403, "9.7.4-2": 90704, "11.4.2-MariaDB-ubu2404": 110402,
		"5.5.5-10.11.6-MariaDB": 50505, "10.6": 100600, "": 0, "x.y.z": 0, "8.0.36+azure": 80036, "8.0.mysql_aurora.3.04": 80000,
	} {
		if got := VersionNumber(version); got != want {
			t.Errorf("%q is %d, want %d", version, got, want)
		}
	}
}

func TestRowSum(t *testing.T) {
	var a, b, total RowSum
	a.AddRow([]byte("1\n"))
	b.AddRow([]byte("2\n"))
	total.Add(b)
	total.Add(a)
	var both RowSum
	both.AddRow([]byte("1\n"))
	both.AddRow([]byte("2\n"))
	if total != both {
		t.Error("the sum depends on the order")
	}
	got, err := ParseRowSum(total.String())
	if err != nil || got != total {
		t.Errorf("%s reads back as %s, %v", total, got, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("g", 32), strings.Repeat("0", 34)} {
		if _, err := ParseRowSum(bad); err == nil {
			t.Errorf("%q passed for a sum", bad)
		}
	}
	var s RowSummer
	s.Write([]byte("1\n"), true)
	s.Write([]byte(""), false)
	s.Write([]byte("2"), false)
	s.Write([]byte("\n"), true)
	s.Write([]byte("unfinished"), false)
	if s.Rows() != 2 || s.Sum() != total {
		t.Errorf("%d rows with %s, want %s", s.Rows(), s.Sum(), total)
	}
}
