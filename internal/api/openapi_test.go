package api

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

//go:generate go test -count=1 -run ^TestDescriptionIsCurrent$ . -update

var update = flag.Bool("update", false, "write docs/openapi.yaml")

const described = "../../docs/openapi.yaml"

func TestDescriptionIsCurrent(t *testing.T) {
	now, err := New(Options{}).Description()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(described, now, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(described)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, now) {
		t.Error("docs/openapi.yaml is not what the operations say: run go generate ./internal/api")
	}
}
