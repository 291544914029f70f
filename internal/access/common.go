package access

import "strings"

// common says whether a password, in lower case, is one that is tried first:
// one character, a run of the keyboard or the alphabet, or a well-known word
// with well-known decoration.
func common(folded string) bool {
	if strings.Count(folded, folded[:1]) == len(folded) {
		return true
	}
	for _, run := range []string{
		"12345678901234567890", "01234567890123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba",
		"qwertyuiop[]asdfghjkl;'zxcvbnm,./", "qwertzuiopü+asdfghjklöä#yxcvbnm,.-", "azertyuiop^$qsdfghjklmù*wxcvbn,;:!", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
		"1q2w3e4r5t6y7u8i9o0p", "1a2b3c4d5e6f7g8h9i0j", "qazwsxedcrfvtgbyhnujmikolp", "qweasdzxcqweasdzxc", "123qweasdzxc", "qwe123qwe123", "abc123abc123", "abcd1234abcd1234", "1234qwer1234qwer", "asdfasdfasdf", "qwerqwerqwer", "1212121212121212", "1231231231231", "1122334455667788990011",
	} {
		if strings.Contains(run, folded) {
			return true
		}
	}
	plain := strings.Trim(folded, "1234567890!?.,-_#*+ ")
	for _, known := range []string{
		"password", "passwort", "passwords", "motdepasse", "contraseña", "kennwort", "geheim", "passw", "p@ssw0rd", "p@ssword", "passw0rd", "pa$$word", "pa$$w0rd", "pass", "passwd",
		"admin", "administrator", "administrateur", "adminadmin", "root", "rootroot", "toor", "user", "benutzer", "utilisateur", "test", "testtest", "guest", "default", "changeme", "change-me", "changemenow", "letmein", "welcome", "willkommen", "bienvenue", "hallo", "hello", "helloworld", "bonjour", "login", "master", "secret", "secretpassword", "supersecret", "mypassword", "newpassword", "thepassword",
		"passwordpassword", "passpass", "backstay", "backup", "backups", "sicherung", "sauvegarde", "itop", "itflow", "combodo", "helpdesk", "server", "computer", "internet", "service",
		"qwerty", "qwertyuiop", "qwertz", "qwertzuiop", "azerty", "azertyuiop", "asdfgh", "asdfghjkl", "zxcvbnm", "abc", "abcd", "abcdef", "abcdefg", "qwe", "asd", "q1w2e3r4t5", "q1w2e3r4t5y6", "iloveyou", "ichliebedich", "jetaime", "sunshine", "princess", "football", "baseball", "basketball", "superman", "batman", "spiderman", "starwars", "pokemon", "dragon", "monkey", "shadow", "michael", "jennifer", "liverpool", "chelsea", "arsenal", "whatever", "trustno", "freedom", "summer", "winter", "spring", "autumn", "sommer", "fruehling", "frühling", "herbst", "schalke", "marseille", "doudou", "loulou", "chouchou", "soleil", "correcthorsebatterystaple",
	} {
		if plain == known {
			return true
		}
	}
	return false
}
