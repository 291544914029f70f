package facts

import "math"

// noiseBits is the entropy of a byte, in bits, from which on bytes look like
// noise. 4096 random bytes have 7.95 on average, and less than 7.93 one time in
// a thousand; text has 4 to 5, programs 6 to 6.5.
const noiseBits = 7.9

// isNoise says whether bytes look random. Too few never do.
func isNoise(b []byte) bool { return len(b) >= leastBytes && entropy(b) >= noiseBits }

// entropy is that of one byte, in bits, going by how often each value occurs.
func entropy(b []byte) float64 {
	var count [256]int
	for _, x := range b {
		count[x]++
	}
	sum := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

// magic is what a format has at a place in its files.
type magic struct {
	at int
	is string
}

// magics are those of formats that are packed and that users upload. What is
// encrypted on purpose (age, OpenPGP, openssl's "Salted__") is not among them:
// malware uses the same, and whoever keeps such files has a usual share of them.
func magics() []magic {
	return []magic{
		{0, "PK\x03\x04"}, {0, "PK\x05\x06"}, {0, "PK\x07\x08"}, // zip, office, epub, jar
		{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}, // older office, msg
		{0, "\x89PNG\r\n\x1a\n"}, {0, "\xff\xd8\xff"}, {0, "GIF87a"}, {0, "GIF89a"},
		{0, "RIFF"}, // webp, wav, avi
		{0, "II*\x00"}, {0, "MM\x00*"}, {0, "BM"}, {0, "\x00\x00\x01\x00"}, {0, "8BPS"},
		{4, "ftyp"},                           // mp4, mov, heic, avif
		{4, "moov"}, {4, "mdat"}, {4, "wide"}, // older mov
		{0, "\xff\x0a"}, {0, "\x00\x00\x00\x0cJXL "}, {0, "\x00\x00\x00\x0cjP  "}, // JPEG XL, JPEG 2000
		{0, "\x1a\x45\xdf\xa3"},                                                         // mkv, webm
		{0, "\x00\x00\x01\xba"}, {0, "\x00\x00\x01\xb3"}, {0, "FLV"}, {0, "0&\xb2\x75"}, // mpg, flv, wmv
		{0, "ID3"}, {0, "\xff\xfb"}, {0, "\xff\xf3"}, {0, "\xff\xf2"}, {0, "\xff\xfa"}, {0, "\xff\xf1"}, {0, "\xff\xf9"}, // mp3, aac
		{0, "OggS"}, {0, "fLaC"}, {0, "#!AMR"}, {0, "caff"},
		{0, "\x1f\x8b"}, {0, "BZh"}, {0, "\xfd7zXZ\x00"}, {0, "7z\xbc\xaf\x27\x1c"}, {0, "\x28\xb5\x2f\xfd"}, {0, "\x04\x22\x4d\x18"}, {0, "LZIP"}, {0, "\x1f\x9d"}, {0, "\x5d\x00\x00"},
		{0, "Rar!\x1a\x07"}, {0, "MSCF"}, {0, "!<arch>\n"}, {0, "\xed\xab\xee\xdb"}, {0, "xar!"}, {257, "ustar"},
		{0, "wOFF"}, {0, "wOF2"}, {0, "OTTO"},
		{0, "%!PS"}, {0, "AT&TFORM"}, {0, "{\\rtf"},
		{0, "\x7fELF"}, {0, "MZ"}, {0, "SQLite format 3\x00"}, {0, "PAR1"}, {0, "\x89HDF"},
	}
}
