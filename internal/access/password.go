package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/backstay/backstay/internal/core"
)

// A password has at least PasswordRunes letters or other characters, and at most
// PasswordBytes bytes.
const (
	PasswordRunes = 10
	PasswordBytes = 1024
)

// Hashes that are computed at once, and those that may wait for it: a flood of
// logins is to take neither all memory nor a queue of minutes.
const (
	hashesAtOnce  = 2
	hashesWaiting = 32
)

// Weak is why a password is too easy; it is ErrWeak. Pages translate Reason.
type Weak struct{ Reason string }

// The reasons.
const (
	WeakShort  = "short"  // fewer than PasswordRunes characters
	WeakLong   = "long"   // more than PasswordBytes bytes
	WeakName   = "name"   // it is the user's name
	WeakCommon = "common" // it is one of the first that are tried
)

// Error says it in words.
func (e *Weak) Error() string {
	why := map[string]string{
		WeakShort:  fmt.Sprintf("it has fewer than %d characters", PasswordRunes),
		WeakLong:   fmt.Sprintf("it has more than %d bytes", PasswordBytes),
		WeakName:   "it is the name",
		WeakCommon: "it is among those that are tried first",
	}[e.Reason]
	return ErrWeak.Error() + ": " + why
}

// Is makes it ErrWeak.
func (e *Weak) Is(target error) bool { return target == ErrWeak }

// CheckPassword says whether a password may be a user's: ErrWeak, with a Weak in
// the chain. Length counts, and nothing else but that it is not guessed at once.
func CheckPassword(name string, password core.Secret) error {
	text := password.Reveal()
	reason := ""
	switch folded := strings.ToLower(text); {
	case len(text) > PasswordBytes:
		reason = WeakLong
	case utf8.RuneCountInString(text) < PasswordRunes:
		reason = WeakShort
	case folded == fold(name):
		reason = WeakName
	case common(folded):
		reason = WeakCommon
	default:
		return nil
	}
	return refusal(core.CodeUsage, &Weak{reason}, fmt.Sprintf("take at least %d characters, for example four words that have nothing to do with each other", PasswordRunes))
}

// cost is what a hash takes to compute.
type cost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

func fullCost() cost { return cost{memory: 32 << 10, passes: 3, threads: 1} }

const (
	saltBytes = 16
	hashBytes = 32
)

// hashed is a password's hash, as its PHC form says.
type hashed struct {
	cost cost
	salt []byte
	sum  []byte
}

func (h hashed) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.memory, h.cost.passes, h.cost.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

// parseHash reads the PHC form. What takes more than 1 GiB or a minute is no
// hash of ours.
func parseHash(text string) (hashed, error) {
	wrong := errors.New("a password's hash cannot be read")
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hashed{}, wrong
	}
	var h hashed
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.cost.memory, &h.cost.passes, &h.cost.threads); err != nil {
		return hashed{}, wrong
	}
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	c := h.cost
	if err != nil || err2 != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 ||
		c.memory < 8 || c.memory > 1<<20 || c.passes < 1 || c.passes > 64 || c.threads < 1 || c.threads > 16 {
		return hashed{}, wrong
	}
	return h, nil
}

// less says whether c is cheaper to guess against than other.
func (c cost) less(other cost) bool { return c.memory < other.memory || c.passes < other.passes }

func (c cost) sum(password string, salt []byte, length int) []byte {
	return argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.threads, uint32(length))
}

// hash makes what is kept of a password.
func (s *Store) hash(ctx context.Context, password core.Secret) (string, error) {
	leave, err := s.hashing.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	h := hashed{cost: s.cost, salt: make([]byte, saltBytes)}
	fill(h.salt)
	h.sum = s.cost.sum(password.Reveal(), h.salt, hashBytes)
	return h.String(), nil
}

// matches says whether password is the one of the hash kept. With "" it is not,
// after the same time.
func (s *Store) matches(ctx context.Context, kept string, password core.Secret) (bool, error) {
	leave, err := s.hashing.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	text := password.Reveal()
	if len(text) > PasswordBytes {
		kept, text = "", text[:PasswordBytes] // nobody has it
	}
	h := hashed{cost: s.cost, salt: make([]byte, saltBytes), sum: make([]byte, hashBytes)}
	if kept != "" {
		if h, err = parseHash(kept); err != nil {
			return false, s.damaged(fmt.Errorf("%w: %w", errDamaged, err))
		}
	}
	same := subtle.ConstantTimeCompare(h.cost.sum(text, h.salt, len(h.sum)), h.sum) == 1
	return same && kept != "", nil
}

// outdated says whether a hash is cheaper than those that are made now.
func (s *Store) outdated(kept string) bool {
	h, err := parseHash(kept)
	return err == nil && h.cost.less(s.cost)
}

// turnstile lets some in at once, some wait, and sends the others away.
type turnstile struct{ inside, all chan struct{} }

func newTurnstile(atOnce, waiting int) *turnstile {
	return &turnstile{inside: make(chan struct{}, atOnce), all: make(chan struct{}, atOnce+waiting)}
}

func (t *turnstile) enter(ctx context.Context) (leave func(), err error) {
	select {
	case t.all <- struct{}{}:
	default:
		return nil, &RetryAfter{Wait: 5 * time.Second}
	}
	select {
	case t.inside <- struct{}{}:
		return func() { <-t.inside; <-t.all }, nil
	case <-ctx.Done():
		<-t.all
		return nil, named("wait to check a password", ctx.Err())
	}
}

// fill fills b with chance, which crypto/rand gives or ends the process.
func fill(b []byte) { _, _ = rand.Read(b) }
