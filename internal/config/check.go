package config

import (
	"time"

	"github.com/backstay/backstay/internal/schedule"
)

// DefaultCheckSchedule is when an app is checked where the file says nothing:
// every hour, and after every backup.
func DefaultCheckSchedule() schedule.Spec {
	return schedule.Spec{Name: "check", Every: time.Hour}
}
