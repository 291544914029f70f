package state

import _ "modernc.org/sqlite"
