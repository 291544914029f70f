package strict

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// HeaderName is the name of a header of HTTP.
func HeaderName(s string) (wrong, hint string) {
	if s == "" || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fmt.Sprintf("cannot be %q", Shown(s)), "write the name of a header, such as X-Forwarded-For"
	}
	return "", ""
}

// OneWord is text without spaces.
func OneWord(s string) (wrong, hint string) {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
		return fmt.Sprintf("cannot be %q", Shown(s)), "write one word for each: [openid, profile]"
	}
	return "", ""
}

// NetworksField is a list of addresses and networks, which cannot be everybody.
func NetworksField(key string, into *[]netip.Prefix) Field {
	return Field{
		Key: key, Schema: map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		Read: func(r *Reader, _ Position, n ast.Node) {
			var list []netip.Prefix
			for _, item := range r.Items(n, key) {
				s, ok := r.Text(item, key)
				if !ok {
					continue
				}
				at := PositionOf(item.GetToken())
				prefix, err := netip.ParsePrefix(s)
				if address, aerr := netip.ParseAddr(s); aerr == nil && address.Zone() == "" {
					prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
				}
				switch {
				case err != nil:
					r.Problem(at, "such as 127.0.0.1, 10.1.0.0/24 or fd00::/8; names are not asked for", "an entry of %q is no address: %q", key, Shown(s))
				case prefix.Bits() == 0:
					r.Problem(at, "name the addresses that are meant", "an entry of %q is everybody: %q", key, s)
				case prefix != prefix.Masked():
					r.Problem(at, fmt.Sprintf("did you mean %q?", prefix.Masked()), "an entry of %q is no network: %q", key, s)
				default:
					list = append(list, prefix)
				}
			}
			*into = list
		},
	}
}
