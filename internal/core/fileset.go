package core

// FileSet is what one component takes from below one folder. Profiles make
// them, capture walks them.
type FileSet struct {
	Component Component
	Place     string   // "app" when Root is the app's folder, "system" when Root is "/"
	Root      string   // absolute folder
	Include   []Path   // what is taken; ".": everything
	Exclude   []string // globs relative to Root ("a/*.log", "**" crosses folders, "a/**" is all below a but not a itself)
}

// Path is something to capture, relative to the FileSet's root, with "/" and
// without "." or ".." elements.
type Path struct {
	Path     string
	Optional bool // when it is not there, there is nothing to say
	Follow   bool // when it is a symlink, capture the folder or file it points to in its place and note it; also for links on the way to it
}

// Application is what a profile found of an app: all that a backup of it takes.
type Application struct {
	Name     string
	Profile  string
	Root     string          // absolute; "" for an app with no folder of its own
	Database *DatabaseSource // nil when the app has none
	FileSets []FileSet
	Versions map[string]string
	Modules  []Module
	Settings map[string]string // what a restore by this profile must know; no secrets
	Notes    []string
	Warnings []Warning
}

// DatabaseSource says where an app's database is and who may read it.
type DatabaseSource struct {
	Host     string // "" means the socket
	Port     int    // 0: 3306
	Socket   string // path; used when Host is "" or "localhost"
	User     string
	Password Secret
	Name     string
	Prefix   string
	TLS      DatabaseTLS
	Locks    []string // named locks (GET_LOCK) that keep the app's own backup and restore away
}

// DatabaseTLS says how the connection is protected.
type DatabaseTLS struct {
	Mode string // "" (off), "preferred", "required" (unverified), "verify-ca", "verify-full"
	CA   string // PEM file; "" means the system's roots
}
