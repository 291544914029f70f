package itflow_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/profiletest"
)

func TestConformance(t *testing.T) {
	profiletest.Run(t, profiletest.Subject{
		Profile: itflow.Profile{Sockets: []string{}},
		Config:  "config.php",
		Install: func(t *testing.T, root string, a profiletest.Account) {
			profiletest.Write(t, root, map[string]string{
				"config.php": "<?php\n\n$dbhost = " + profiletest.PHPString(a.Host) + ";\n$dbusername = " + profiletest.PHPString(a.User) + ";\n$dbpassword = " +
					profiletest.PHPString(a.Password) + ";\n$database = " + profiletest.PHPString(a.Name) + ";\n$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database) or die('x');\n" +
					"$config_backup_path = " + profiletest.PHPString(root+"/archives") + ";\n",
				"functions.php": "<?php", "login.php": "<?php", "includes/app_version.php": "<?php DEFINE(\"APP_VERSION\", \"26.08\");",
				"db.sql":            "CREATE TABLE `clients` (\nCREATE TABLE `invoices` (\nCREATE TABLE `tickets` (\nCREATE TABLE `users` (\n",
				"uploads/.htaccess": "x", "uploads/clients/1/a.pdf": "x", "uploads/users/2/": "", "uploads/tmp/x": "x", "uploads/tmp/.htaccess": "x",
				"uploads/backups/itflow_x.zip": "x", "uploads/backups/.htaccess": "x", "uploads/backups/index.php": "x", "archives/itflow_y.zip": "x",
				"agent/custom/index.php": "x", "agent/index.php": "x", "api/v1/custom/readme.php": "x", "functions/custom/custom_action_handler.php": "x",
				"functions/app.php": "x", ".git/HEAD": "ref: refs/heads/master", ".htaccess": "x",
			})
		},
		Want: map[string]core.Component{
			"functions.php": core.ComponentCode, ".htaccess": core.ComponentCode, ".git/HEAD": core.ComponentCode, "agent/index.php": core.ComponentCode,
			"functions/app.php": core.ComponentCode, "uploads": core.ComponentFiles, "uploads/.htaccess": core.ComponentFiles,
			"uploads/clients/1/a.pdf": core.ComponentFiles, "uploads/users/2": core.ComponentFiles, "uploads/tmp": core.ComponentFiles, "uploads/tmp/x": "",
			"uploads/tmp/.htaccess": core.ComponentFiles, "uploads/backups": core.ComponentFiles, "uploads/backups/itflow_x.zip": "",
			"uploads/backups/.htaccess": core.ComponentFiles, "uploads/backups/index.php": core.ComponentFiles, "archives/itflow_y.zip": "",
			"agent/custom/index.php": core.ComponentFiles, "api/v1/custom/readme.php": core.ComponentFiles, "functions/custom/custom_action_handler.php": core.ComponentFiles,
		},
	})
}
