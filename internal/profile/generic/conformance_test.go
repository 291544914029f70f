package generic_test

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/profile/profiletest"
)

func TestConformance(t *testing.T) {
	profiletest.Run(t, profiletest.Subject{
		Profile:  generic.Profile{Sockets: []string{}},
		Rootless: true,
		Prefix:   true,
		Install: func(t *testing.T, root string, _ profiletest.Account) {
			profiletest.Write(t, root, map[string]string{"images/a.png": "x", "images/thumb/a.png": "x", "settings.php": "<?php", "index.php": "<?php"})
		},
		App: func(root string, a profiletest.Account) profile.App {
			return profile.App{
				Name: "subject", Root: root,
				Database: profile.Database{Host: "db.example.org", Port: 3307, User: a.User, Password: core.NewSecret(a.Password), Name: a.Name, Prefix: a.Prefix},
				Files:    []profile.Files{{Path: "images", Exclude: []string{"thumb/**"}}}, Config: []string{"settings.php"},
			}
		},
		Want: map[string]core.Component{
			"images/a.png": core.ComponentFiles, "images/thumb": core.ComponentFiles, "images/thumb/a.png": "", "settings.php": core.ComponentConfig, "index.php": "",
		},
	})
}
