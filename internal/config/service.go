package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/schedule"
)

// Service is the `service` section: how `backstay serve` works. DefaultService
// holds where the file says nothing.
type Service struct {
	Listen        string        // host:port of the console, metrics and health; "": none
	Parallel      int           // runs at the same time
	Nice          int           // 0 to 19
	IONice        string        // one of IOClasses
	UploadLimit   int64         // bytes a second; 0: no limit
	DownloadLimit int64         // bytes a second; 0: no limit
	Log           string        // "text" or "json"
	Stop          string        // StopFinish or StopCancel
	StopTimeout   time.Duration // how long StopFinish waits before it cancels
	Timeout       time.Duration // a run that takes longer is ended, as failed
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
		Listen: "127.0.0.1:8484", Parallel: 1, Nice: 10, IONice: "best-effort", Log: "text", Stop: StopCancel, StopTimeout: 30 * time.Minute, Timeout: 24 * time.Hour,
		Maintenance: schedule.Spec{Name: "maintenance", Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 4, Minute: 30}}},
	}
}

func serviceFields(s *Service) []strict.Field {
	return []strict.Field{
		listenField("listen", &s.Listen).Describe("address and port of the console, metrics and health, or off; 127.0.0.1:8484 when not given"),
		strict.NumberField("parallel", &s.Parallel, 1, 64).Describe("how many runs at the same time; 1 when not given"),
		strict.NumberField("nice", &s.Nice, 0, 19).Describe("how much runs stand back for other programs; 10 when not given"),
		strict.OneOf("ionice", &s.IONice, "classes", IOClasses()...).Describe("how much of the disks runs may take; best-effort when not given"),
		rateField("upload_limit", &s.UploadLimit).Describe("how fast the repository is written: 20MB/s; as fast as can be when not given"),
		rateField("download_limit", &s.DownloadLimit).Describe("how fast the repository is read: 20MB/s; as fast as can be when not given"),
		strict.OneOf("log", &s.Log, "formats", "text", "json").Describe("how the service logs; text when not given"),
		strict.OneOf("stop", &s.Stop, "values", StopFinish, StopCancel).Describe("what becomes of a running backup when the service ends; cancel when not given"),
		strict.DurationField("stop_timeout", &s.StopTimeout).Describe("how long stop: finish waits before it cancels what runs: 2h; 30m when not given"),
		strict.DurationField("timeout", &s.Timeout).Describe("a run that takes longer is ended and has failed; 24h when not given"),
		oneScheduleField("maintenance", &s.Maintenance).Describe("when the repository gives back the space of removed backups; 04:30 every day when not given"),
	}
}

func listenField(key string, into *string) strict.Field {
	return strict.ScalarField(key, func(s string) (wrong, hint string) {
		if s == "off" {
			*into = ""
			return "", ""
		}
		host, port, err := net.SplitHostPort(s)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || strings.ContainsAny(host, "/ \x00") {
			return fmt.Sprintf("cannot be %q", strict.Shown(s)), "write host:port, such as 127.0.0.1:8484; or off"
		}
		*into = s
		return "", ""
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// rateField is a number of bytes a second; 0 and off are no limit.
func rateField(key string, into *int64) strict.Field {
	return strict.ScalarField(key, func(s string) (wrong, hint string) {
		if s == "off" || s == "0" {
			*into = 0
			return "", ""
		}
		n, wrong, hint := strict.ParseSize(strings.TrimSuffix(s, "/s"))
		if wrong != "" {
			return fmt.Sprintf("cannot be %q", strict.Shown(s)), "write a whole number with B, kB, MB, GB, KiB, MiB or GiB a second: 20MB/s; or off"
		}
		*into = n
		return "", hint
	})
}
