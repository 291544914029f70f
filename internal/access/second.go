package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/internal/core"
)

// What authenticator programs take for granted (RFC 6238): SHA-1, six digits.
const (
	codeEvery     = 30 // seconds
	codeDigits    = 6
	codeSkew      = 1 // steps before and after the present one that count too
	recoveryCodes = 10
	secondOffered = time.Hour // until which an offered factor must be confirmed
	qrPixels      = 240
)

// wrongCode is ErrCode, and ErrSecond: the right one is still missing.
type wrongCode struct{}

func (wrongCode) Error() string { return ErrCode.Error() }

func (wrongCode) Is(target error) bool { return target == ErrSecond || target == ErrCode }

// second looks at the code of a person who has a second factor, and uses it up.
// ErrSecond: there is none given; ErrCode.
func (s *Store) second(ctx context.Context, tx *sql.Tx, p person, code string) error {
	if p.totp == "" {
		return nil
	}
	code = strings.NewReplacer(" ", "", "-", "", "\t", "").Replace(code)
	switch {
	case code == "":
		return ErrSecond
	case len(code) != codeDigits:
		return useRecovery(ctx, tx, p.ID, code)
	}
	step, err := s.stepOf(p.totp, code, p.step)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE users SET totp_step = ? WHERE id = ?", step, p.ID)
	return err
}

// stepOf finds the step that a code is of, later than used: ErrCode.
func (s *Store) stepOf(secret, code string, used int64) (step int64, err error) {
	now := s.clock.Now().Unix() / codeEvery
	found := int64(0)
	for step := now - codeSkew; step <= now+codeSkew; step++ {
		want, err := totp.GenerateCodeCustom(secret, time.Unix(step*codeEvery, 0), totp.ValidateOpts{Period: codeEvery, Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, fmt.Errorf("work out the code of a second factor: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > used {
			found = step
		}
	}
	if found == 0 {
		return 0, wrongCode{}
	}
	return found, nil
}

// recoveryText has 32 letters and digits of which none is mistaken for another.
var recoveryText = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

func recoveryHash(code string) []byte {
	sum := sha256.Sum256([]byte(strings.ToLower(code)))
	return sum[:]
}

func useRecovery(ctx context.Context, tx *sql.Tx, user int64, code string) error {
	result, err := tx.ExecContext(ctx, "DELETE FROM recovery WHERE user = ? AND hash = ?", user, recoveryHash(code))
	if err := oneGone(result, err); errors.Is(err, ErrNoSuchItem) {
		return wrongCode{}
	} else if err != nil {
		return err
	}
	return nil
}

// OfferSecond makes a second factor for a user, which counts from ConfirmSecond
// on, within an hour; until then a former one goes on. ErrNoSuchUser, ErrElsewhere.
func (s *Store) OfferSecond(ctx context.Context, name string) (Second, error) {
	var offered Second
	err := s.write(ctx, "offer a second factor", func(tx *sql.Tx) error {
		p, err := find(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.Provider != "" {
			return noPassword(p.User)
		}
		key, err := totp.Generate(totp.GenerateOpts{Issuer: "backstay", AccountName: p.Name, Period: codeEvery, SecretSize: 20, Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return fmt.Errorf("make a second factor: %w", err)
		}
		picture, err := key.Image(qrPixels, qrPixels)
		if err != nil {
			return fmt.Errorf("draw a QR code: %w", err)
		}
		var text bytes.Buffer
		if err := png.Encode(&text, picture); err != nil {
			return fmt.Errorf("draw a QR code: %w", err)
		}
		offered = Second{Secret: core.NewSecret(key.Secret()), URL: core.NewSecret(key.URL()), PNG: text.Bytes()}
		_, err = tx.ExecContext(ctx, "UPDATE users SET offered = ?, offered_at = ? WHERE id = ?", key.Secret(), s.clock.Now().UnixNano(), p.ID)
		return err
	})
	if err != nil {
		return Second{}, err
	}
	return offered, nil
}

// ConfirmSecond puts the offered factor to use once code shows that the person
// has it, and returns recovery codes, each good for one login; former ones are
// not any more. ErrCode, ErrNoSuchUser; ErrNoSuchItem when none is offered.
func (s *Store) ConfirmSecond(ctx context.Context, name, code string) (recovery []core.Secret, err error) {
	err = s.keep(ctx, "confirm a second factor", func(tx *sql.Tx) error {
		recovery = nil
		p, err := find(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.offered == "" || p.offerAt == nil || s.clock.Now().Sub(*p.offerAt) >= secondOffered {
			return refusal(core.CodeNotFound, ErrNoSuchItem, "begin anew with the second factor")
		}
		step, err := s.stepOf(p.offered, strings.ReplaceAll(code, " ", ""), 0)
		if err != nil {
			return err
		}
		if err := dropSecond(ctx, tx, p.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE users SET totp = ?, totp_step = ? WHERE id = ?", p.offered, step, p.ID); err != nil {
			return err
		}
		for range recoveryCodes {
			chance := make([]byte, 10)
			fill(chance)
			plain := recoveryText.EncodeToString(chance)
			if _, err := tx.ExecContext(ctx, "INSERT INTO recovery (user, hash) VALUES (?, ?)", p.ID, recoveryHash(plain)); err != nil {
				return err
			}
			recovery = append(recovery, core.NewSecret(plain[:4]+"-"+plain[4:8]+"-"+plain[8:12]+"-"+plain[12:]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

func dropSecond(ctx context.Context, tx *sql.Tx, user int64) error {
	if _, err := tx.ExecContext(ctx, "UPDATE users SET totp = '', totp_step = 0, offered = '', offered_at = NULL WHERE id = ?", user); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM recovery WHERE user = ?", user)
	return err
}
