package mysql

import (
	"bytes"
	"testing"
)

// TestPlain has every byte at every place of values of all short lengths.
func TestPlain(t *testing.T) {
	for n := range 40 {
		for at := range n {
			for b := range 256 {
				for _, around := range []byte{'a', 0, 0xff, escape - 1, escape + 1, columnS + 0x80, lineS + 1} {
					v := bytes.Repeat([]byte{around}, n)
					v[at] = byte(b)
					if got, want := plain(v), bytes.IndexByte([]byte{escape, columnS, lineS}, byte(b)) < 0; got != want {
						t.Fatalf("plain(%x) is %v", v, got)
					}
				}
			}
		}
	}
}

func BenchmarkEscapeShort(b *testing.B) {
	values := [][]byte{[]byte("1"), []byte("123456"), []byte("UserRequest"), []byte("CMDBChangeOpSetAttribute"), []byte("599999")}
	dst := make([]byte, 0, 256)
	for b.Loop() {
		dst = dst[:0]
		for _, v := range values {
			dst = appendEscaped(dst, v)
		}
	}
}
