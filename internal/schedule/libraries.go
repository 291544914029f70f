package schedule

import _ "github.com/robfig/cron/v3"
