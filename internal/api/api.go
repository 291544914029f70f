// Package api is the JSON API under /api/v1.
package api

import _ "github.com/danielgtaylor/huma/v2"
