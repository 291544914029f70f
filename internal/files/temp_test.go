package files

import (
	"strings"
	"testing"
)

func TestTempNames(t *testing.T) {
	for _, name := range []string{"a.txt", "", "\xff", strings.Repeat("x", 255)} {
		if temp := TempName(name); !IsTempName(temp) || temp != TempName(name) {
			t.Errorf("%q is written as %q", name, temp)
		}
	}
	sum := "0123456789abcdef01234567"
	if !IsTempName(".backstay-" + sum + ".tmp") {
		t.Error("the form is not known")
	}
	for _, other := range []string{
		"", ".backstay-.tmp", ".backstay-" + sum, sum + ".tmp", ".backstay-" + sum[1:] + ".tmp", ".backstay-0" + sum + ".tmp",
		".backstay-" + strings.ToUpper(sum) + ".tmp", ".backstay-" + sum[1:] + "g.tmp", ".backstay-" + sum[1:] + "/.tmp", "x.backstay-" + sum + ".tmp", ".backstay-" + sum + ".tmp~",
	} {
		if IsTempName(other) {
			t.Errorf("%q is taken for a temporary file", other)
		}
	}
}

func TestStagingNames(t *testing.T) {
	for _, name := range []string{"itop-code", "a", "20261123-093000-files"} {
		if !IsStagingName(StagingName(name)) || IsTempName(StagingName(name)) {
			t.Errorf("%q is not known", StagingName(name))
		}
	}
	for _, other := range []string{"", ".backstay-", ".backstay", "backstay-itop", ".backstay-ITOP", ".backstay-a/b", ".backstay-a.b", "x.backstay-a", TempName("a")} {
		if IsStagingName(other) {
			t.Errorf("%q is taken for a staging folder", other)
		}
	}
}
