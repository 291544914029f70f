// Package kit makes and opens recovery kits.
package kit

import (
	_ "github.com/boombuler/barcode/qr"
	_ "github.com/corvus-ch/shamir"
	_ "github.com/tyler-smith/go-bip39"
)
