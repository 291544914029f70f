// Package oidc lets people log in at an OpenID Connect provider.
package oidc

import (
	_ "github.com/coreos/go-oidc/v3/oidc"
	_ "golang.org/x/oauth2"
)
