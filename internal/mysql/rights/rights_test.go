package rights

import "testing"

func TestGrantCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, database string
		want              bool
	}{
		{"`a`", "a", true}, {"`a`", "A", true}, {"`a`", "ab", false}, {"`a%`", "abc", true}, {"`a_c`", "abc", true}, {"`a\\_c`", "abc", false}, {"`a\\_c`", "a_c", true},
		{"`a``b`", "a`b", true}, {`"a""b"`, `a"b`, true}, {`"a"`, "a", true}, {"`a.b`", "axb", false}, {"`%`", "ünï", true}, {"`ü_`", "üx", true}, {"`(`", "(", true}, {"``", "", true}, {"", "", false}, {"`", "x", false},
	} {
		if got := covers(c.pattern, c.database); got != c.want {
			t.Errorf("%s covers %q: %v", c.pattern, c.database, got)
		}
	}
}

func TestEverywhere(t *testing.T) {
	grants := []string{"GRANT SELECT, SUPER ON *.* TO `u`@`%`", "GRANT ALL PRIVILEGES ON `d`.* TO `u`@`%`", "GRANT PROXY ON ''@'' TO `u`@`%`"}
	has := Everywhere(grants)
	if !has("SUPER") || !has("FILE", "SELECT") || has("FILE") {
		t.Error("the rights on everything are read wrongly")
	}
	if !On("d", grants)("FILE") || On("e", grants)("FILE") || !On("e", grants)("SELECT") {
		t.Error("the rights on a database are read wrongly")
	}
	if !Everywhere([]string{"GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION"})("SUPER") {
		t.Error("all rights are none")
	}
}

func TestRoles(t *testing.T) {
	if Roles([]string{"GRANT SELECT, INSERT ON *.* TO `u`@`%`", "GRANT USAGE ON *.* TO `u`@`%`", "GRANT PROXY ON ''@'%' TO 'root'@'localhost'", "GRANT SELECT (`a`) ON `d`.`t` TO `u`@`%`"}) {
		t.Error("a right is taken for a role")
	}
	for _, line := range []string{"GRANT `app_role`@`%` TO `u`@`%`", "GRANT `r` TO `u`@`%`", "GRANT r TO `u`@`%`", "GRANT 'r' TO 'u'@'%'", "GRANT `a role`@`%`,`b`@`%` TO `u`@`%`"} {
		if !Roles([]string{line}) {
			t.Errorf("%s is taken for a right", line)
		}
	}
}
