package ddl_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

func TestTriggerHere(t *testing.T) {
	for in, want := range map[string]string{
		"CREATE DEFINER=`a`@`b` TRIGGER shop.tr BEFORE INSERT ON shop . item FOR EACH ROW SET @x=1":                      "CREATE DEFINER=`a`@`b` TRIGGER tr BEFORE INSERT ON item FOR EACH ROW SET @x=1",
		"CREATE TRIGGER IF NOT EXISTS `s``x`.`t.r` AFTER UPDATE ON `s``x`.`i.m` FOR EACH ROW INSERT INTO a.b VALUES (1)": "CREATE TRIGGER IF NOT EXISTS `t.r` AFTER UPDATE ON `i.m` FOR EACH ROW INSERT INTO a.b VALUES (1)",
		"CREATE TRIGGER tr BEFORE INSERT ON `item` FOR EACH ROW SET NEW.a=1":                                             "CREATE TRIGGER tr BEFORE INSERT ON `item` FOR EACH ROW SET NEW.a=1",
	} {
		if got := string(ddl.TriggerHere(core.SchemaObject{Kind: "trigger", Name: "tr", Table: "item", Charset: "utf8mb4"}, []byte(in))); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", in, got, want)
		}
	}
}
