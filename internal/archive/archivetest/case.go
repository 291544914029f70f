// Package archivetest is the conformance suite of archive.Format. It is for
// every format: what the seam's comments promise is tested here once, with
// archives that are whole, cut short, damaged and hostile.
package archivetest

import (
	"testing"

	"github.com/backstay/backstay/internal/archive"
)

// Case is a format to test, and what it promises beyond the seam.
type Case struct {
	Format archive.Format
	Write  archive.WriteOptions // Clock is the suite's
	Open   archive.OpenOptions  // Limits and ScratchDir are the suite's
	// Profile is the profile of the backup that is written: "itop", "itflow",
	// "generic"; "": generic.
	Profile string
	// Dialect is what Write asks Content.Dump for; "": the format carries no
	// SQL, and OpenDump must give nil.
	Dialect archive.Dialect
	// Expect says what Files gives for an entry of the backup as Content.Walk
	// gives it, with real names; false: the format does not carry it. Entries of
	// the component code and of place "system" are asked for too. The root
	// folder of a place (Path "") is not. The bytes of files must be the same.
	Expect func(e archive.Entry) (archive.Entry, bool)
	// Follows says that what a symbolic link points to, file or folder, stands in
	// its place. Expect is then asked for that under the link's path, and not for
	// the link.
	Follows bool
	// Warns are the codes of the warnings that Write gives for the sample.
	Warns []string

	// Block is the size of the format's blocks, at whose ends the archive is
	// cut; 0: it is cut at some hundred places.
	Block int
	// Unpack and Repack take the outermost compression from an archive and put
	// it back. With them the unpacked bytes are cut at the ends of blocks, too.
	Unpack func(t testing.TB, archive []byte) []byte
	Repack func(t testing.TB, unpacked []byte) []byte

	// Forge returns an archive that is whole but for these entries, which stand
	// where the format has the application's own files; nil: the format cannot
	// express one of them. Nil for a format that has no entries.
	Forge func(t testing.TB, entries ...Forged) []byte
	// Accepts names the forgeries (Forgeries, and those of bytes around an
	// archive: "appended byte", …) that the format reads as they are: Check finds
	// no flaw. All others must be refused: by Open, or by Check with an error or
	// a flaw.
	Accepts []string
	// Hostile are further archives, of this format alone.
	Hostile []Hostile
}

// Kind is the type of a forged entry, as tar's type flags have it.
type Kind byte

// The kinds of forged entries.
const (
	KindFile    Kind = '0'
	KindLink    Kind = '1' // hard link
	KindSymlink Kind = '2'
	KindChar    Kind = '3'
	KindBlock   Kind = '4'
	KindDir     Kind = '5'
	KindFIFO    Kind = '6'
)

// Forged is an entry that no backup program writes.
type Forged struct {
	Path  string // written as it is
	Kind  Kind
	Link  string
	Body  []byte
	Claim int64 // the size that the entry claims; 0: that of Body
}

// Hostile is an archive that must be refused, or proves to be harmless.
type Hostile struct {
	Name   string
	Build  func(t testing.TB) []byte
	Limits archive.Limits
	Accept bool   // Check finds no flaw
	Want   string // what the error or a flaw says; "": anything
}

// Run runs the suite.
func Run(t *testing.T, c Case) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, Case)
	}{
		{"round trip", testRoundTrip},
		{"read in part", testPartly},
		{"no archive", testRecognizes},
		{"cut short", testTruncated},
		{"flipped bits", testFlipped},
		{"bytes around it", testAround},
		{"forged entries", testForged},
		{"hostile", testHostile},
		{"file fails", testReadFails},
		{"repository fails", testRepositoryFails},
		{"disk full", testDiskFull},
		{"cancelled", testCancelled},
		{"memory", testMemory},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, c) })
	}
}
