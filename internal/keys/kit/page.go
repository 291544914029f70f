package kit

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"image/png"
	"regexp"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/tyler-smith/go-bip39"

	"github.com/backstay/backstay/internal/core"
)

//go:embed page.html
var pageText string

var hexKey = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Words are a key of 64 hex digits as 24 words of the list of BIP 39, whose last
// has a checksum; nil for a key of another form.
func Words(key core.Secret) []string {
	if !hexKey.MatchString(key.Reveal()) {
		return nil
	}
	entropy, err := hex.DecodeString(key.Reveal())
	if err != nil {
		return nil
	}
	words, err := bip39.NewMnemonic(entropy)
	if err != nil {
		return nil
	}
	return strings.Fields(words)
}

// FromWords is the key that words stand for; a word that is wrong, missing or in
// another place is noticed.
func FromWords(text string) (core.Secret, error) {
	entropy, err := bip39.EntropyFromMnemonic(strings.ToLower(strings.Join(strings.Fields(text), " ")))
	if err != nil || len(entropy) != 32 {
		return core.Secret{}, &core.Error{Code: core.CodeUsage, Op: "read the words of the key", Message: "they are not the 24 words of a key, or one is wrong", Hint: "compare them with the page, in the order of their numbers"}
	}
	return core.NewSecret(hex.EncodeToString(entropy)), nil
}

// Checksum is what the page shows of a key to see whether it was typed right.
func Checksum(key core.Secret) string {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// Page is a page to be printed and locked away: whoever holds it and the
// repository can read all backups.
func Page(i Info, key core.Secret) ([]byte, error) {
	code, err := picture(key.Reveal())
	if err != nil {
		return nil, err
	}
	text := key.Reveal()
	var groups []string
	for len(text) > 8 && hexKey.MatchString(key.Reveal()) {
		groups, text = append(groups, text[:8]), text[8:]
	}
	t, err := template.New("page").Funcs(template.FuncMap{"next": func(n int) int { return n + 1 }}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Info": i, "Made": i.Made.UTC().Format("2006-01-02 15:04 UTC"), "Groups": append(groups, text), "Words": Words(key), "Checksum": Checksum(key), "Code": template.URL(code),
	})
	return b.Bytes(), err
}

// picture is text as a QR code, in an address that holds it all.
func picture(text string) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw the key: %w", err)
	}
	side := code.Bounds().Dx() * 6
	scaled, err := barcode.Scale(code, side, side)
	if err != nil {
		return "", fmt.Errorf("draw the key: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, scaled); err != nil {
		return "", err
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
