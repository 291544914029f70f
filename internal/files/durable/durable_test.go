package durable

import "testing"

func TestReportsAll(t *testing.T) {
	for release, want := range map[string]bool{
		"5.17.0": true, "5.17": true, "6.1.0-25-amd64": true, "10.0": true, "5.100-rc1": true,
		"5.16.20": false, "5.10.0-21-amd64": false, "4.19.0": false, "3.10.0-1160.el7": false,
		"": false, "6": false, "x.y": false, "6.x": false,
	} {
		if got := reportsAll(release); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}
