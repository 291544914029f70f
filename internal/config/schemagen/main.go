// Command schemagen writes the JSON schema of backstay.yaml to the file it is
// given. It is for go generate.
package main

import (
	"log"
	"os"

	"github.com/backstay/backstay/internal/config"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: schemagen FILE")
	}
	schema, err := config.Schema()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], schema, 0o644); err != nil {
		log.Fatal(err)
	}
}
