package localserver

import "testing"

// Installed lists each program once, the one first that a start takes.
func TestInstalled(t *testing.T) {
	programs, err := Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := findBinary(t.Context(), "")
	if err != nil {
		t.Skipf("no server program is installed in a usual place: %v", err)
	}
	if len(programs) == 0 || programs[0].Path != taken.path {
		t.Errorf("listed %v, but %s is taken", programs, taken.path)
	}
	seen := map[string]bool{}
	for _, p := range programs {
		again, err := Examine(t.Context(), p.Path)
		if err != nil || again != p {
			t.Errorf("examined %v, %v; listed %v", again, err, p)
		}
		if seen[p.Path] || p.Vendor == "" || p.Version == "" {
			t.Errorf("listed %v", programs)
		}
		seen[p.Path] = true
	}
}
