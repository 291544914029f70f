package config

import (
	"encoding/json"
	"fmt"
)

//go:generate go test -count=1 -run ^TestSchemaFileIsCurrent$ . -update

// Schema returns the JSON schema of backstay.yaml, for editors. It is made from
// the same fields that Parse reads with.
func Schema() ([]byte, error) {
	var c Config
	var unused *entry
	schema := objectSchema(topFields(&c, &unused, &unused))
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "backstay.yaml"
	schema["required"] = []string{"repository"}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of the configuration: %w", err)
	}
	return append(out, '\n'), nil
}

func objectSchema(fields []field) map[string]any {
	properties := make(map[string]any, len(fields))
	for _, f := range fields {
		property := make(map[string]any, len(f.schema)+1)
		for k, v := range f.schema {
			property[k] = v
		}
		if f.doc != "" {
			property["description"] = f.doc
		}
		properties[f.key] = property
	}
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

// oneOrMany is the schema of a list that may be left away around its only
// entry.
func oneOrMany(one map[string]any) map[string]any {
	return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
}
