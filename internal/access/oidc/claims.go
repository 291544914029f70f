package oidc

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
)

func person(settings Settings, subject string, claims map[string]any, flow Flow) (Person, error) {
	name := nameIn(settings, claims)
	if name == "" {
		name = subject
	}
	found := Person{Issuer: settings.Issuer, Subject: subject, Name: name, Role: role(settings, claims), Asked: moment(claims["auth_time"]), Flow: flow}
	if found.Role == "" {
		return found, fmt.Errorf("%w: %s", ErrNoRole, quoted(name))
	}
	return found, nil
}

// nameIn is what the claims call the person; "" when they do not.
func nameIn(settings Settings, claims map[string]any) string {
	for _, path := range []string{settings.NameClaim, "preferred_username", "email"} {
		if path == "" {
			continue
		}
		if found := texts(claim(claims, path)); len(found) == 1 && strings.TrimSpace(found[0]) != "" {
			return strings.TrimSpace(found[0])
		}
	}
	return ""
}

// role is the highest that the claims give.
func role(settings Settings, claims map[string]any) access.Role {
	best := settings.Default
	if settings.RolesClaim == "" {
		return best
	}
	for _, value := range texts(claim(claims, settings.RolesClaim)) {
		for _, candidate := range access.Roles() {
			for _, wanted := range settings.Roles[candidate] {
				if wanted != "" && wanted == value && candidate.May(best) {
					best = candidate
				}
			}
		}
	}
	return best
}

// claim finds a claim by its path. A claim whose own name has dots, as an
// address has that some providers use, is found first.
func claim(claims map[string]any, path string) any {
	if value, ok := claims[path]; ok {
		return value
	}
	for at := 0; at < len(path); at++ {
		if path[at] != '.' {
			continue
		}
		if inner, ok := claims[path[:at]].(map[string]any); ok {
			if value := claim(inner, path[at+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}

// texts are the strings in a claim that is one, or a list of them.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var found []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				found = append(found, s)
			}
		}
		return found
	}
	return nil
}

func moment(value any) time.Time {
	switch v := value.(type) {
	case float64:
		return time.Unix(int64(v), 0)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return time.Unix(n, 0)
		}
	}
	return time.Time{}
}
