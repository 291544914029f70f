package notify

import (
	_ "github.com/nicholas-fedor/shoutrrr"
	_ "github.com/wneessen/go-mail"
)
