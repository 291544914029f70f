package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/schedule"
)

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

func serviceFields(s *Service) []field {
	return []field{
		listenField("listen", &s.Listen).describe("address and port of metrics and health, or off; 127.0.0.1:8484 when not given"),
		numberField("parallel", &s.Parallel, 1, 64).describe("how many runs at the same time; 1 when not given"),
		numberField("nice", &s.Nice, 0, 19).describe("how much runs stand back for other programs; 10 when not given"),
		oneOf("ionice", &s.IONice, "classes", IOClasses()...).describe("how much of the disks runs may take; best-effort when not given"),
		rateField("upload_limit", &s.UploadLimit).describe("how fast the repository is written: 20MB/s; as fast as can be when not given"),
		rateField("download_limit", &s.DownloadLimit).describe("how fast the repository is read: 20MB/s; as fast as can be when not given"),
		oneOf("log", &s.Log, "formats", "text", "json").describe("how the service logs; text when not given"),
		oneOf("stop", &s.Stop, "values", StopFinish, StopCancel).describe("what becomes of a running backup when the service ends; cancel when not given"),
		oneScheduleField("maintenance", &s.Maintenance).describe("when the repository gives back the space of removed backups; 04:30 every day when not given"),
	}
}

func listenField(key string, into *string) field {
	return scalarField(key, func(s string) (wrong, hint string) {
		if s == "off" {
			*into = ""
			return "", ""
		}
		host, port, err := net.SplitHostPort(s)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 || strings.ContainsAny(host, "/ \x00") {
			return fmt.Sprintf("cannot be %q", shown(s)), "write host:port, such as 127.0.0.1:8484; or off"
		}
		*into = s
		return "", ""
	})
}

// rateField is a number of bytes a second; 0 and off are no limit.
func rateField(key string, into *int64) field {
	return scalarField(key, func(s string) (wrong, hint string) {
		if s == "off" || s == "0" {
			*into = 0
			return "", ""
		}
		n, wrong, hint := parseSize(strings.TrimSuffix(s, "/s"))
		if wrong != "" {
			return fmt.Sprintf("cannot be %q", shown(s)), "write a whole number with B, kB, MB, GB, KiB, MiB or GiB a second: 20MB/s; or off"
		}
		*into = n
		return "", hint
	})
}
