package config

import "github.com/backstay/backstay/internal/schedule"

// Service is the `service` section: how `backstay serve` works. DefaultService
// holds where the file says nothing.
type Service struct {
	Listen        string // host:port of metrics and health; "": none
	Parallel      int    // runs at the same time
	Nice          int    // 0 to 19
	IONice        string // one of IOClasses
	UploadLimit   int64  // bytes a second; 0: no limit
	DownloadLimit int64  // bytes a second; 0: no limit
	Log           string // "text" or "json"
	Stop          string // StopFinish or StopCancel
	Maintenance   schedule.Spec
}

// What becomes of a running backup when the service ends.
const (
	StopFinish = "finish"
	StopCancel = "cancel"
)

// IOClasses lists how much of the disks runs may take.
func IOClasses() []string { return []string{"idle", "best-effort", "none"} }

// DefaultService is what holds where the file says nothing: maintenance is at
// half past four every night.
func DefaultService() Service {
	return Service{
		Listen: "127.0.0.1:8484", Parallel: 1, Nice: 10, IONice: "best-effort", Log: "text", Stop: StopCancel,
		Maintenance: schedule.Spec{Name: "maintenance", Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 4, Minute: 30}}},
	}
}
