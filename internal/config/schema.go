package config

import (
	"encoding/json"
	"fmt"

	"github.com/backstay/backstay/internal/config/strict"
)

//go:generate go test -count=1 -run ^TestSchemaFileIsCurrent$ . -update

// Schema returns the JSON schema of backstay.yaml, for editors. It is made from
// the same fields that Parse reads with.
func Schema() ([]byte, error) {
	var c Config
	var unused *strict.Entry
	schema := strict.ObjectSchema(topFields(&c, &unused, &unused))
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "backstay.yaml"
	schema["required"] = []string{"repository"}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of the configuration: %w", err)
	}
	return append(out, '\n'), nil
}
