package kopia

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// location is a parsed repository URL.
type location struct {
	url  string
	path string
}

// The schemes that work, for messages, and those that are to come.
const builtSchemes = "file://"

func planned(scheme string) bool {
	return slices.Contains([]string{"s3", "sftp", "webdav", "azure", "gcs", "b2", "rclone"}, scheme)
}

const parseOp = "read repository URL"

func parseURL(raw string) (location, error) {
	hint := "give an absolute path, such as file:///var/lib/backstay/repository"
	usage := func(format string, args ...any) error {
		return &core.Error{Code: core.CodeUsage, Op: parseOp, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if raw == "" {
		return location{}, usage("no repository URL given")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The error repeats the URL, which may hold a password.
		return location{}, usage("the repository URL cannot be read")
	}
	if u.Scheme == "" {
		return location{}, usage("%q has no scheme", u.Path)
	}
	switch {
	case u.Scheme == "file":
		return parseFile(u)
	case planned(u.Scheme):
		return location{}, &core.Error{
			Code: core.CodeUnsupported, Op: parseOp,
			Message: fmt.Sprintf("repositories on %s:// are not built yet; this version has %s", u.Scheme, builtSchemes),
			Hint:    "use a folder, for example one on a mounted share: file:///mnt/backup/repository",
		}
	}
	return location{}, usage("unknown scheme %q; this version knows %s", u.Scheme, builtSchemes)
}

func parseFile(u *url.URL) (location, error) {
	usage := func(message string) error {
		return &core.Error{
			Code: core.CodeUsage, Op: parseOp, Message: message,
			Hint: "give an absolute path after three slashes, such as file:///var/lib/backstay/repository",
		}
	}
	switch {
	case u.Opaque != "" || (u.Host != "" && u.Host != "localhost"):
		return location{}, usage(fmt.Sprintf("%q is not an absolute path", u.Host+u.Opaque+u.Path))
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return location{}, usage("a file:// URL has a path and nothing else; write ? as %3F and # as %23")
	case !path.IsAbs(u.Path):
		return location{}, usage("the file:// URL has no path")
	case path.Clean(u.Path) == "/":
		return location{}, usage("the repository cannot be the root of the file system")
	case strings.ContainsRune(u.Path, 0):
		return location{}, usage("the path has a NUL byte")
	}
	p := path.Clean(u.Path)
	return location{url: (&url.URL{Scheme: "file", Path: p}).String(), path: p}, nil
}
