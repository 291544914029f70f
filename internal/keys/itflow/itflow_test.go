package itflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/keys/itflow"
	"github.com/backstay/backstay/internal/keys/itflow/itflowtest"
)

// The vector was observed on a running ITFlow 26.08.
const (
	password   = "Corr3ct horse! batterie é"
	wrapped    = "n6c0o5G-aG_wcQR9Z8wM3YWftHYnAid4whNHoZ9zQ4x/gOBVUFJ9YO7lT2gwN7A6fqSh5U0wD7w="
	masterKey  = "Bh3tVZAwOMXNrTF2"
	credential = "3F86HdXWpfVvKF5jl2ov6eKVjspf56EEMbpSlCXmOZj3UYtNXfmFyo9a7Ug="
	plain      = "Pässwörd 🔐 №1"
	// By PHP's password_hash of the vector's password, with cost 4 and 10.
	quickHash = "$2y$04$YTB5T1j2lTZjcbDKJJPAhOaZODnb1hGjWVfkgma.WDVERnmFWy/3m"
	usualHash = "$2y$10$Wx89mSguFKg5/LvI/5W/lOiuK/58XPI5sXuU7QIxY8nYr72o5j4Ja"
)

func unwrap(t testing.TB, stored, with string) itflow.MasterKey {
	t.Helper()
	k, err := itflow.Unwrap(stored, core.NewSecret(with))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func master(t testing.TB, text string) itflow.MasterKey {
	t.Helper()
	k, err := itflow.NewMasterKey(core.NewSecret(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVector(t *testing.T) {
	k := unwrap(t, wrapped, password)
	if k.Secret().Reveal() != masterKey || !k.Equal(master(t, masterKey)) {
		t.Errorf("the key is another one")
	}
	if got, err := k.Open(credential); err != nil || got.Reveal() != plain {
		t.Errorf("%q, %v", got.Reveal(), err)
	}
	if itflowtest.Wrap(password, masterKey) != wrapped {
		t.Error("what the tests write is not what ITFlow writes")
	}
	if text := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(text, masterKey) {
		t.Errorf("it prints as %s", text)
	}
	for _, hash := range []string{quickHash, usualHash, ""} {
		got, err := itflow.Wrapping{Stored: wrapped, Login: hash}.Unwrap(core.NewSecret(password))
		if err != nil || !got.Equal(k) {
			t.Errorf("with the login %q: %v", hash, err)
		}
	}
}

// TestTrimmed: ITFlow trims passwords in some places and not in others.
func TestTrimmed(t *testing.T) {
	for _, c := range []struct{ typed, wrappedWith string }{{"  spaced\t", "spaced"}, {"  spaced\t", "  spaced\t"}} {
		if k := unwrap(t, itflowtest.Wrap(c.wrappedWith, masterKey), c.typed); !k.Equal(master(t, masterKey)) {
			t.Errorf("%q for %q", c.typed, c.wrappedWith)
		}
		hash, err := bcrypt.GenerateFromPassword([]byte("spaced"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (itflow.Wrapping{Stored: itflowtest.Wrap(c.wrappedWith, masterKey), Login: string(hash)}).Unwrap(core.NewSecret(c.typed)); err != nil {
			t.Errorf("%q for %q: %v", c.typed, c.wrappedWith, err)
		}
	}
}

// TestWrongPasswords: of 600, none is taken for right; without the login's hash
// all are tried on what is stored.
func TestWrongPasswords(t *testing.T) {
	for name, hash := range map[string]string{"with the login": quickHash, "without": ""} {
		for part := range 2 {
			t.Run(fmt.Sprintf("%s/%d", name, part), func(t *testing.T) {
				t.Parallel()
				for i := range 300 {
					wrong := fmt.Sprintf("%s %d", password, part*300+i)
					_, err := itflow.Wrapping{Stored: wrapped, Login: hash}.Unwrap(core.NewSecret(wrong))
					if !errors.Is(err, itflow.ErrWrongPassword) || strings.Contains(err.Error(), wrong) {
						t.Fatalf("%q: %v", wrong, err)
					}
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		w    itflow.Wrapping
		want error
	}{
		"archived, or a client's":  {itflow.Wrapping{Login: quickHash}, itflow.ErrNoWrapping},
		"short":                    {itflow.Wrapping{Stored: "abc"}, itflow.ErrMalformed},
		"no base64":                {itflow.Wrapping{Stored: wrapped[:40] + "!!"}, itflow.ErrMalformed},
		"cut":                      {itflow.Wrapping{Stored: wrapped[:len(wrapped)-4]}, itflow.ErrMalformed},
		"a line end within":        {itflow.Wrapping{Stored: wrapped[:40] + "\n" + wrapped[40:]}, itflow.ErrMalformed},
		"of an empty key":          {itflow.Wrapping{Stored: itflowtest.Wrap(password, "")}, itflow.ErrMalformed},
		"of no key":                {itflow.Wrapping{Stored: itflowtest.Wrap(password, "sixteen+of/those")}, itflow.ErrWrongPassword},
		"under a former password":  {itflow.Wrapping{Stored: itflowtest.Wrap("former", masterKey), Login: quickHash}, itflow.ErrStale},
		"a hash that takes a year": {itflow.Wrapping{Stored: itflowtest.Wrap("other", masterKey), Login: "$2y$31$YTB5T1j2lTZjcbDKJJPAhOaZODnb1hGjWVfkgma.WDVERnmFWy/3m"}, itflow.ErrWrongPassword},
		"a hash of another kind":   {itflow.Wrapping{Stored: itflowtest.Wrap("other", masterKey), Login: "$argon2id$v=19$m=65536"}, itflow.ErrWrongPassword},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.w.Unwrap(core.NewSecret(password)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, err := itflow.NewMasterKey(core.NewSecret("no key")); !errors.Is(err, itflow.ErrMalformed) {
		t.Error(err)
	}
	if _, err := (itflow.MasterKey{}).Open(credential); !errors.Is(err, itflow.ErrOtherKey) {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	k := master(t, masterKey)
	for _, text := range []string{"", "x", "exactly sixteen.", strings.Repeat("long ", 80), plain} {
		if got, err := k.Open(itflowtest.Encrypt(masterKey, text)); err != nil || got.Reveal() != text {
			t.Errorf("%q: %q, %v", text, got.Reveal(), err)
		}
	}
	for _, bad := range []string{"", "short", credential[:20], credential[:len(credential)-1], credential + "\n", "plain text that somebody put there"} {
		if _, err := k.Open(bad); !errors.Is(err, itflow.ErrMalformed) || itflow.WellFormed(bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// Bytes that are no text are not what ITFlow encrypted.
	if _, err := k.Open(itflowtest.Encrypt(masterKey, "\xff\xfe\xfd")); !errors.Is(err, itflow.ErrOtherKey) {
		t.Error(err)
	}
}

// table gives rows of a table that is made of texts; "NULL" is NULL.
type table struct {
	columns []string
	rows    [][]string
}

func rowsOf(tables map[string]table) keys.Rows {
	return func(_ context.Context, name string, columns []string, each func([]*string) error) error {
		have, ok := tables[name]
		if !ok {
			return keys.ErrAbsent
		}
		for _, r := range have.rows {
			row := make([]*string, len(columns))
			for i, c := range columns {
				at := -1
				for j, name := range have.columns {
					if name == c {
						at = j
					}
				}
				if at < 0 {
					return keys.ErrAbsent
				}
				if r[at] != "NULL" {
					row[i] = &r[at]
				}
			}
			if err := each(row); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestCheck: a key that opens some credentials only, and which those are.
func TestCheck(t *testing.T) {
	const other = "AnotherKey_12345"
	long := strings.Repeat("so long that no other key opens it ", 3)
	tables := map[string]table{
		"users": {[]string{"user_id", "user_email", "user_specific_encryption_ciphertext", "user_password", "user_archived_at"}, [][]string{
			{"1", "ada@example.test", wrapped, quickHash, "NULL"},
			{"2", "bob@example.test", itflowtest.Wrap("bob's", masterKey), "NULL", "NULL"},
			{"3", "eve@example.test", "", quickHash, "2026-01-01 00:00:00"},
			{"4", "same@example.test", itflowtest.Wrap(password, other), "", "NULL"},
		}},
		"api_keys": {[]string{"api_key_id", "api_key_name", "api_key_decrypt_hash"}, [][]string{{"1", "script", itflowtest.Wrap("pa$$", masterKey)}}},
		"credentials": {[]string{"credential_id", "credential_name", "credential_archived_at", "credential_username", "credential_password"}, [][]string{
			{"1", "root", "NULL", itflowtest.Encrypt(masterKey, "root"), credential},
			{"2", "other", "NULL", "NULL", itflowtest.Encrypt(other, long)},
			{"3", "plain", "2026-01-01 00:00:00", "", "never encrypted"},
			{"4", "empty", "NULL", "NULL", "NULL"},
		}},
	}
	rows := rowsOf(tables)
	got, err := itflow.Check(t.Context(), rows, master(t, masterKey), master(t, other))
	if err != nil {
		t.Fatal(err)
	}
	malformed := itflow.Failure{Table: "credentials", ID: "3", Column: "credential_password", Name: "plain", Why: itflow.ErrMalformed.Error()}
	want := itflow.Verdict{Credentials: 4, Fields: 4, Opened: 2, Failed: 2, Failures: []itflow.Failure{
		{Table: "credentials", ID: "2", Column: "credential_password", Name: "other", Why: itflow.ErrOtherKey.Error()}, malformed,
	}}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("the first key (-want +got):\n%s", diff)
	}
	if got[1].Failed < 2 || got[1].Failures[0].ID != "1" {
		t.Errorf("the second key: %+v", got[1])
	}
	none, err := itflow.Check(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(itflow.Verdict{Credentials: 4, Fields: 4, Opened: 3, Failed: 1, Failures: []itflow.Failure{malformed}}, none[0]); diff != "" {
		t.Errorf("without a key (-want +got):\n%s", diff)
	}

	wrappings, err := itflow.Wrappings(t.Context(), rows)
	if err != nil || len(wrappings) != 5 || !wrappings[2].Archived || wrappings[4].Kind != itflow.OfAPIKey {
		t.Fatalf("%+v, %v", wrappings, err)
	}
	found, refusals, err := itflow.Find(t.Context(), wrappings, core.NewSecret(password))
	if err != nil || len(found) != 2 || found[0].Whose[0].ID != "1" || found[1].Whose[0].ID != "4" || len(refusals) != 3 {
		t.Fatalf("%d keys, %d refusals, %v", len(found), len(refusals), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := itflow.Find(ctx, wrappings, core.NewSecret(password)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	// The names that tables had until 2025, and no API keys.
	delete(tables, "api_keys")
	tables["logins"] = table{[]string{"login_id", "login_name", "login_archived_at", "login_username", "login_password"}, [][]string{{"9", "old", "NULL", "NULL", credential}}}
	delete(tables, "credentials")
	former, err := itflow.Check(t.Context(), rows, master(t, masterKey))
	if err != nil || former[0].Opened != 1 {
		t.Errorf("%+v, %v", former, err)
	}
	if w, err := itflow.Wrappings(t.Context(), rows); err != nil || len(w) != 4 {
		t.Errorf("%d, %v", len(w), err)
	}
	delete(tables, "logins")
	if _, err := itflow.Check(t.Context(), rows); !errors.Is(err, keys.ErrAbsent) {
		t.Error(err)
	}
}

func TestManyFailures(t *testing.T) {
	j := itflow.NewJudge(master(t, masterKey))
	for i := range itflow.MaxFailures + 5 {
		j.Add(itflow.Field{ID: fmt.Sprint(i), Stored: "bad"})
	}
	if v := j.Verdicts()[0]; v.Failed != itflow.MaxFailures+5 || len(v.Failures) != itflow.MaxFailures {
		t.Errorf("%d of %d", len(v.Failures), v.Failed)
	}
}

func FuzzOpen(f *testing.F) {
	for _, seed := range []string{credential, wrapped, "", "short", credential[:20]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		_, err := master(t, masterKey).Open(stored)
		if errors.Is(err, itflow.ErrMalformed) == itflow.WellFormed(stored) {
			t.Errorf("%q: %v", stored, err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	for _, seed := range []string{wrapped, credential, "", wrapped[:32], wrapped[:40]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		k, err := itflow.Unwrap(stored, core.NewSecret(password))
		switch {
		case err == nil && k.Secret().Empty(), err != nil && !errors.Is(err, itflow.ErrMalformed) && !errors.Is(err, itflow.ErrWrongPassword) && !errors.Is(err, itflow.ErrNoWrapping):
			t.Errorf("%q: %v", stored, err)
		}
	})
}
