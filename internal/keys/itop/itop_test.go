package itop

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// vectors were made by iTop 3.3's own class under PHP 8.2 with OpenSSL's legacy
// provider; Mcrypt is there what iTop makes of it without the extension.
var vectors = []struct{ library, key, plain, stored string }{
	{"Sodium", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "", "5a7875446a4856654e46456447776556783357547a613256774e6e577969425649455231304a4151564d6e6764576e3364435a652b673d3d"},
	{"Sodium", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "x", "57682b68786d4565327930625136452f4e744d51677a414462433174342f3347324234344e752b47784a347a63396945772b30707134513d"},
	{"Sodium", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "12345678", "6737324477447a4d4d34425272386a6764716146354555726c416b4a535657415a777a654d5247645857677a4971645467356479776167713369667262433161"},
	{"Sodium", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "Pässwörd 🔐 №1", "61584b52554730566136734e6a77697439555747517647734d6d435146694f2f32312f2b2f696243466d584f77466b436e7565656c712f7850644441646563383342766875354c3063743844416b324c"},
	{"Sodium", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "a longer value, of more than one block: 0123456789", "6269437654496d5854394b4f5865426d7a72346d4a424e325156354e506a30467a6e3247424a77446c4352454f614566364c4c4b732f354562394c2b424a5179394a5a68554e595a45474447754d6179366d422f496938462b564749614d62346d416e2f2b67353464413048646c5377484b423933765557"},
	{"OpenSSL", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "", "3b7b1303ca924f15a7b878a74b8297c077495535374661586e734c6e72714e455841655a54513d3d"},
	{"OpenSSL", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "x", "e68d1a1b7d5e7938068aaffa66aeb5823277654e54752b427046716d46493379536b466269673d3d"},
	{"OpenSSL", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "12345678", "d32936bb2dd1c301e4989e32caf38d7c45694f4c73776c302b79724353557a523842443637513d3d"},
	{"OpenSSL", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "Pässwörd 🔐 №1", "9d973550b4ff043c06ba9fbb27534eec73413933346b3374687566722f45487a656b76454c455969527871386d64434a61566d336a7a5a385a2b4d3d"},
	{"OpenSSL", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "a longer value, of more than one block: 0123456789", "974bfc0dadad2df0eb2b29c4c6336e024a51754b445063734832337a3834384d4f5576417553356f4f4e6b55314f696873323774545678786f46434e51314e34506d595a67372b58583852446f4868554b6f756e6e4a374f4f33543368774632346430724f413d3d"},
	{"OpenSSL", "00112233445566778899", "", "e751c5ddbebdabe1504639010b5e4aea69625171793931646d6871556b5476552b75324442413d3d"},
	{"OpenSSL", "00112233445566778899", "x", "781089d2a6216888564fb7f45beb5ad456433365794c61725541685967556246556b6b7769673d3d"},
	{"OpenSSL", "00112233445566778899", "12345678", "93babffa43addbfad860ab74ce35bc966c7949696e715145516568346b675673486d683931513d3d"},
	{"OpenSSL", "00112233445566778899", "Pässwörd 🔐 №1", "3dc37093c635d3666388c303b1016f01494d6e69354b6f693531655074446d6d376f4b3843716f5a6879495a59535a65534d6f774c6f74655a2f343d"},
	{"OpenSSL", "00112233445566778899", "a longer value, of more than one block: 0123456789", "e1dc000b75ca9f3e69718c0d9a74186e49344f467a616a2f6f494376382b733547594b356a6c764c55545132427671684831766c7a534f46516c4b337942576765766b34376a7a646364594d4978564f4969384c6647516b316657656636566f4a68774651773d3d"},
	{"OpenSSLMcryptCompatibility", "@iT0pEncr1pti0n!", "", "1d5881d8d8fe9b1e"},
	{"OpenSSLMcryptCompatibility", "@iT0pEncr1pti0n!", "x", "4771f31a160d97d678e94c987c6fa950"},
	{"OpenSSLMcryptCompatibility", "@iT0pEncr1pti0n!", "12345678", "7d0c00eb2eba2cd8b9c925792529b81d"},
	{"OpenSSLMcryptCompatibility", "@iT0pEncr1pti0n!", "Pässwörd 🔐 №1", "5bae4f71ad5467a045a94fe2a76428a4161828940bda801de850a4eb94cc8862"},
	{"OpenSSLMcryptCompatibility", "@iT0pEncr1pti0n!", "a longer value, of more than one block: 0123456789", "689f7a395d9c72f4f10048107ad8058e67d5f51eb13bb9caa4182ceffd189222264dc2c7d6aa7a070baa4d10a8f27a7543289cd8e3f0b524ab9c6b78f6b60d9b"},
	{"OpenSSLMcryptCompatibility", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "", "e6c451ca85776bc6"},
	{"OpenSSLMcryptCompatibility", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "x", "89895bc128550f89072e51d277c07798"},
	{"OpenSSLMcryptCompatibility", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "12345678", "665ac71a8dd22e8b850df538926ae1e8"},
	{"OpenSSLMcryptCompatibility", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "Pässwörd 🔐 №1", "7600d7003d58c9f505a2c429d4d44d2402d231e4955b358279efdc5ad00c6644"},
	{"OpenSSLMcryptCompatibility", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "a longer value, of more than one block: 0123456789", "855b4aaa24fbb82299cb9de6bca0457a99f505b5cca886dd63cdaea775f82b87f1be3dc9da4d908eb50fab56f988ffdb0407f5e7f1569bf629bbb7ebb412ed7d"},
	{"Mcrypt", "@iT0pEncr1pti0n!", "", "3e888350466b9a1b"},
	{"Mcrypt", "@iT0pEncr1pti0n!", "x", "8f88fb4085b84a3a8e2b63d8e7a3a628"},
	{"Mcrypt", "@iT0pEncr1pti0n!", "12345678", "014bd77b69be65d91e7352b8c9c0fe4b"},
	{"Mcrypt", "@iT0pEncr1pti0n!", "Pässwörd 🔐 №1", "36a6663af9225b5e1ea51f08a3de1d6bdc7cae4378cb27f63a0fac47a72dc246"},
	{"Mcrypt", "@iT0pEncr1pti0n!", "a longer value, of more than one block: 0123456789", "1ca649f2cce6ed137c5e0a61baf3163975dadbcfec73381332c69ecd8db4182b16ed876baa88321fc63f80358f9a60758b384029790fe123c196d7e978d18cd0"},
	{"Simple", "@iT0pEncr1pti0n!", "", ""},
	{"Simple", "@iT0pEncr1pti0n!", "x", "b8"},
	{"Simple", "@iT0pEncr1pti0n!", "12345678", "719b8764a57ba59b"},
	{"Simple", "@iT0pEncr1pti0n!", "Pässwörd 🔐 №1", "902cf8a3e3bc3119e495906408c4fe4122edea61"},
	{"Simple", "@iT0pEncr1pti0n!", "a longer value, of more than one block: 0123456789", "a189c09fdeacd3d592a7d1e0de959a41afcf749ddfb7d383e699d1e2899fdc8660cbc09fd3b0a883a262a2a79d65a45878a2"},
	{"Simple", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "", ""},
	{"Simple", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "x", "a8"},
	{"Simple", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "12345678", "6162646567686a6b"},
	{"Simple", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "Pässwörd 🔐 №1", "80f3d5a4a5a9f6e9a6985525d5cac7571abccf6a"},
	{"Simple", "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0", "a longer value, of more than one block: 0123456789", "91509da0a09998a554aa96a1ab9b6357a79e59a6d0d3c782d7cbc5d285d4d4cb50c89dd495cf6d83649367946a6e6d6f7070"},
}

func key(t testing.TB, library, text string) Key {
	t.Helper()
	k, err := NewKey(library, core.NewSecret(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		stored, err := hex.DecodeString(v.stored)
		if err != nil {
			t.Fatal(err)
		}
		got, err := key(t, v.library, v.key).Open(stored)
		if err != nil || got.Reveal() != v.plain {
			t.Errorf("%s, %q: %q, %v", v.library, v.plain, got.Reveal(), err)
		}
	}
}

// TestOtherKey: another key opens nothing that is sealed, and of what is not as
// little as the library lets one tell.
func TestOtherKey(t *testing.T) {
	for _, v := range vectors {
		if v.plain == "" && v.library != Sodium && v.library != OpenSSL {
			continue
		}
		stored, _ := hex.DecodeString(v.stored)
		opened := 0
		for i := range 600 {
			k := key(t, v.library, fmt.Sprintf("%064x", i+1))
			if v.library == Simple {
				k = key(t, v.library, fmt.Sprintf("\xf0other%d", i))
			}
			got, err := k.Open(stored)
			if err == nil {
				opened++
				continue
			}
			if !errors.Is(err, ErrOtherKey) || got.Reveal() != "" || strings.Contains(err.Error(), v.key) {
				t.Errorf("%s: %v", v.library, err)
			}
		}
		limit := map[Proof]int{Sealed: 0, Padded: 15, Plausible: 600}[k(t, v.library).Proof()]
		if v.library == OpenSSLMcryptCompatibility || v.library == Mcrypt {
			limit = 6 // of at least eight bytes that come out, all are to be text
		}
		if opened > limit {
			t.Errorf("%s, %q: %d of 600 other keys open it", v.library, v.plain, opened)
		}
	}
}

func k(t *testing.T, library string) Key { return key(t, library, strings.Repeat("0a", 32)) }

func TestMalformed(t *testing.T) {
	for library, texts := range map[string][]string{
		Sodium:  {"x", "!!!!", "aGVsbG8=", "aGVs\nbG8="},
		OpenSSL: {"short", "0123456789abcdef", "0123456789abcdefnot base64", "0123456789abcdefaGVsbG8="},
		Mcrypt:  {"short", "123456789"},
	} {
		for _, text := range texts {
			if _, err := k(t, library).Open([]byte(text)); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), text) {
				t.Errorf("%s, %q: %v", library, text, err)
			}
		}
	}
	if _, err := (Key{}).Open([]byte("x")); !errors.Is(err, ErrOtherKey) {
		t.Errorf("the zero key: %v", err)
	}
}

func TestNewKey(t *testing.T) {
	for _, c := range []struct{ library, key, says string }{
		{Sodium, "short", "64 hexadecimal"},
		{Sodium, strings.Repeat("zz", 32), "64 hexadecimal"},
		{OpenSSL, "no hex", "not hexadecimal"},
		{Simple, "", "is empty"},
		{"ROT13", "0a", "is none of"},
	} {
		_, err := NewKey(c.library, core.NewSecret(c.key))
		if err == nil || !strings.Contains(err.Error(), c.says) || c.key != "" && c.library != "ROT13" && strings.Contains(err.Error(), c.key) {
			t.Errorf("%s %q: %v", c.library, c.key, err)
		}
	}
	if k := key(t, "", "@iT0pEncr1pti0n!"); k.Library() != Mcrypt || k.Proof() != Plausible {
		t.Errorf("the default is %s", k.Library())
	}
	if text := fmt.Sprintf("%v %+v %#v %s", k(t, Sodium), k(t, Sodium), k(t, Sodium), k(t, Sodium)); strings.Contains(text, "0a0a") {
		t.Errorf("a key prints as %s", text)
	}
}

// TestLongKeyOfMcrypt: of a key over 56 bytes the extension took the first 56.
func TestLongKeyOfMcrypt(t *testing.T) {
	long := strings.Repeat("0123456789", 7)
	for _, v := range []string{long, long[:56]} {
		if _, err := NewKey(Mcrypt, core.NewSecret(v)); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for i, v := range vectors {
		stored, _ := hex.DecodeString(v.stored)
		f.Add(uint8(i), stored)
	}
	f.Fuzz(func(t *testing.T, i uint8, stored []byte) {
		v := vectors[int(i)%len(vectors)]
		if _, err := key(t, v.library, v.key).Open(stored); err != nil && !errors.Is(err, ErrOtherKey) && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
