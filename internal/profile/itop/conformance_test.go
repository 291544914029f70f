package itop_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/profile/profiletest"
)

func TestConformance(t *testing.T) {
	profiletest.Run(t, profiletest.Subject{
		Profile: itop.Profile{Sockets: []string{}},
		Config:  "conf/production/config-itop.php",
		Prefix:  true,
		Modes:   []string{"data/.maintenance"},
		Install: func(t *testing.T, root string, a profiletest.Account) {
			profiletest.Write(t, root, map[string]string{
				"approot.inc.php":           "<?php define('ITOP_CORE_VERSION', '3.2.1');",
				"core/config.class.inc.php": "<?php define('ITOP_VERSION', '3.2.1-1');",
				"conf/production/config-itop.php": "<?php\n$MySettings = array(\n\t'db_host' => " + profiletest.PHPString(a.Host) + ",\n\t'db_user' => " +
					profiletest.PHPString(a.User) + ",\n\t'db_pwd' => " + profiletest.PHPString(a.Password) + ",\n\t'db_name' => " + profiletest.PHPString(a.Name) +
					",\n\t'db_subname' => " + profiletest.PHPString(a.Prefix) + ",\n\t'encryption_key' => 'k',\n);\n$MyModuleSettings = array('itop-backup' => array('extra_files' => array('web/logo.png', 'data/backups/notes.txt', 'log/kept.log')));\n?>",
				"conf/production/ca.pem": "x", "conf/production-build/config-itop.php": "x", "conf/.htaccess": "x",
				"data/.htaccess": "x", "data/instance.txt": "x", "data/production.delta.xml": "x", "data/production-modules/a/b.php": "x",
				"data/production-build-modules/a/b.php": "x", "data/cache-production/x": "x", "data/transactions/x": "x", "data/backups/auto/a.tar.gz": "x",
				"data/backups/notes.txt": "x", "data/tmp-backup-1/itop-dump.sql": "x", "data/datamodel-production.xml": "x",
				"extensions/mine/module.mine.php": "x", "env-production/core/main.php": "x", "env-production-build/x": "x",
				"log/error.log": "x", "log/error.log.1": "x", "log/.htaccess": "x", "log/kept.log": "x", "log/sub/x": "x",
				"web/logo.png": "x", "web/style.css": "x", "pages/UI.php": "x", ".git/HEAD": "x",
			})
		},
		Want: map[string]core.Component{
			"approot.inc.php": core.ComponentCode, "pages/UI.php": core.ComponentCode, "web/style.css": core.ComponentCode, "log": core.ComponentCode,
			"log/.htaccess": core.ComponentCode, "log/error.log": "", "log/error.log.1": "", "log/sub/x": "", "env-production/core/main.php": core.ComponentCode, "env-production-build/x": "",
			".git": "", "conf/production/ca.pem": core.ComponentConfig, "conf/.htaccess": core.ComponentConfig, "conf/production-build": "",
			"data": core.ComponentFiles, "data/.htaccess": core.ComponentFiles, "data/instance.txt": core.ComponentFiles, "data/production.delta.xml": core.ComponentFiles,
			"data/production-modules/a/b.php": core.ComponentFiles, "data/production-build-modules/a/b.php": "", "data/cache-production": "",
			"data/transactions": "", "data/backups/auto/a.tar.gz": "", "data/backups/notes.txt": core.ComponentFiles, "data/tmp-backup-1/itop-dump.sql": "",
			"data/datamodel-production.xml": "", "extensions/mine/module.mine.php": core.ComponentFiles,
			"web/logo.png": core.ComponentFiles, "log/kept.log": core.ComponentFiles,
		},
	})
}
