package itflow

import (
	"context"
	"errors"

	"github.com/backstay/backstay/internal/keys"
)

// Wrappings reads who has the master key under their password: all users, also
// those who have none, and API keys where the version has them. They come in
// the order of their ids.
func Wrappings(ctx context.Context, rows keys.Rows) ([]Wrapping, error) {
	var out []Wrapping
	err := rows(ctx, "users", []string{"user_id", "user_email", "user_specific_encryption_ciphertext", "user_password", "user_archived_at"}, func(r []*string) error {
		out = append(out, Wrapping{Kind: OfUser, ID: text(r[0]), Name: text(r[1]), Stored: text(r[2]), Login: text(r[3]), Archived: r[4] != nil})
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = rows(ctx, "api_keys", []string{"api_key_id", "api_key_name", "api_key_decrypt_hash"}, func(r []*string) error {
		out = append(out, Wrapping{Kind: OfAPIKey, ID: text(r[0]), Name: text(r[1]), Stored: text(r[2])})
		return nil
	})
	if err != nil && !errors.Is(err, keys.ErrAbsent) { // before 2023 there were none, or they had no password
		return nil, err
	}
	return out, nil
}

// vault is a table of credentials, by the names of its columns.
type vault struct {
	table              string
	id, name, archived string
	encrypted          []string
}

// vaults are the tables under the master key. Shared items (shared_items) are
// under keys of their own, which only those have whom they were sent to.
func vaults() []vault {
	return []vault{
		{"credentials", "credential_id", "credential_name", "credential_archived_at", []string{"credential_username", "credential_password"}},
		{"logins", "login_id", "login_name", "login_archived_at", []string{"login_username", "login_password"}},
	}
}

// Fields calls each for every value under the master key that is not empty,
// archived credentials too. credentials counts the rows.
func Fields(ctx context.Context, rows keys.Rows, each func(f Field) error) (credentials int64, err error) {
	for _, v := range vaults() {
		columns := append([]string{v.id, v.name, v.archived}, v.encrypted...)
		err = rows(ctx, v.table, columns, func(r []*string) error {
			credentials++
			for i, column := range v.encrypted {
				stored := text(r[3+i])
				if stored == "" {
					continue
				}
				if err := each(Field{Table: v.table, ID: text(r[0]), Column: column, Name: text(r[1]), Archived: r[2] != nil, Stored: stored}); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, keys.ErrAbsent) {
			return credentials, err
		}
	}
	return 0, err
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
