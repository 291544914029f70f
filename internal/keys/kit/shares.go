package kit

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"github.com/corvus-ch/shamir"

	"github.com/backstay/backstay/internal/core"
)

// Share is a part of a kit's key, for one person to keep. Fewer than Need of
// them say nothing of the key.
type Share struct {
	Kit     string
	Number  int // 1 to Of
	point   int // of the polynomial that this part is
	Need    int
	Of      int
	Text    string // one line, with a checksum
	ReadMe  string // the text with what it is for, to be printed
	content []byte
}

// shareText is a share as it is written: kit, point, need, of, then the part
// and its checksum in base32.
var shareText = regexp.MustCompile(`BACKSTAY-SHARE:([a-z0-9]{12}):(\d{1,3}):(\d{1,3}):(\d{1,3}):([A-Z2-7]+)`)

var base = base32.StdEncoding.WithPadding(base32.NoPadding)

// checksum catches a share that was typed wrong; that it is not another kit's
// and not forged only the kit's own seal shows.
func checksum(kit string, point int, content []byte) []byte {
	h := sha256.New()
	h.Write([]byte(kit))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(point)))
	h.Write(content)
	return h.Sum(nil)[:4]
}

func split(info Info, identity string, s Shares) ([]Share, error) {
	parts, err := shamir.Split([]byte(identity), s.Of, s.Need)
	if err != nil {
		return nil, fmt.Errorf("split the kit's key: %w", err)
	}
	var shares []Share
	for x, content := range parts {
		shares = append(shares, Share{Kit: info.ID, point: int(x), Need: s.Need, Of: s.Of, content: content})
	}
	slices.SortFunc(shares, func(a, b Share) int { return a.point - b.point })
	for i := range shares {
		sh := &shares[i]
		sh.Number = i + 1
		sh.Text = fmt.Sprintf("BACKSTAY-SHARE:%s:%d:%d:%d:%s", sh.Kit, sh.point, sh.Need, sh.Of, base.EncodeToString(append(slices.Clone(sh.content), checksum(sh.Kit, sh.point, sh.content)...)))
		sh.ReadMe = fmt.Sprintf(`Share %d of %d of the recovery kit %s of backstay, made %s on %s.
Any %d of its %d shares open the kit, fewer say nothing. Keep it apart from the kit and the other shares.
backstay key open FILE --into DIR --share THIS-FILE --share ANOTHER …

%s
`, sh.Number, s.Of, info.ID, info.Made.UTC().Format("2006-01-02"), info.Host, s.Need, s.Of, sh.Text)
	}
	return shares, nil
}

// combine makes the kit's key of the texts of shares.
func combine(texts []string) (age.Identity, error) {
	wrong := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeUsage, Op: "open the recovery kit", Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	parts, kit, need, length := map[byte][]byte{}, "", 0, 0
	for i, text := range texts {
		m := shareText.FindStringSubmatch(text)
		if m == nil {
			return nil, wrong("it is the line that begins with BACKSTAY-SHARE:", "share %d cannot be read", i+1)
		}
		point, _ := strconv.Atoi(m[2])
		content, err := base.DecodeString(m[5])
		if err != nil || len(content) < 6 || point < 1 || point > 255 {
			return nil, wrong("compare it with the paper, letter by letter", "share %d cannot be read", i+1)
		}
		content, sum := content[:len(content)-4], content[len(content)-4:]
		if string(sum) != string(checksum(m[1], point, content)) {
			return nil, wrong("compare it with the paper, letter by letter", "share %d was typed wrong: its checksum does not fit", i+1)
		}
		if kit != "" && m[1] != kit {
			return nil, wrong("all shares must be of one kit", "share %d is of kit %s, and not of %s", i+1, m[1], kit)
		}
		if length != 0 && len(content) != length {
			return nil, wrong("all shares must be of one kit", "share %d does not fit the others", i+1)
		}
		kit, length = m[1], len(content)
		need, _ = strconv.Atoi(m[3])
		parts[byte(point)] = content
	}
	if len(parts) < need {
		return nil, wrong("give more of them, each with --share", "%d of %d shares that are needed are given", len(parts), need)
	}
	identity, err := shamir.Combine(parts)
	if err != nil {
		return nil, wrong("all shares must be of one kit", "the shares do not fit together")
	}
	parsed, err := age.ParseX25519Identity(strings.TrimSpace(string(identity)))
	if err != nil {
		return nil, wrong("all shares must be of one kit, and as they were printed", "the shares give no key")
	}
	return parsed, nil
}
