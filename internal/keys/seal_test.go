package keys_test

import (
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys"
)

func TestSeal(t *testing.T) {
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.Seal(core.NewSecret("the key"), []string{mine.Recipient().String()})
	if err != nil || strings.Contains(sealed, "the key") {
		t.Fatalf("%s, %v", sealed, err)
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), mine)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "the key" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), other); err == nil {
		t.Error("another key opens it")
	}
	// A private key in the place of a recipient stays out of the error.
	for _, bad := range []string{mine.String(), "age1nonsense", ""} {
		_, err := keys.Seal(core.NewSecret("the key"), []string{bad})
		if core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
