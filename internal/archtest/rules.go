package archtest

// room is a package, with the packages below it, and what it may import of the
// others. Every room may import itself.
type room struct {
	mayImport []string // rooms; "*" is all
	reason    string
}

// rooms are the packages below internal. A package that has a row of its own
// is a room apart from the one that it lies in.
func rooms() map[string]room {
	leaf := func(why string) room {
		return room{[]string{"core"}, why + "; what needs two leaves belongs in engine"}
	}
	return map[string]room{
		"core":           {nil, "it is what all others speak in"},
		"archive":        {[]string{"core", "files"}, "it reads and writes single files, and looks into stored trees; what becomes of what it reads is the engine's business"},
		"files/assemble": {[]string{"core", "files"}, "it stores trees that come from elsewhere than a file system"},
		"config":         {[]string{"check", "core", "retention", "schedule"}, "it reads a file, into the terms of those who act on it, and knows of no server"},
		"config/edit":    {[]string{"config", "core"}, "it changes the file that config reads"},
		"schedule":       leaf("it is pure"),
		"retention":      leaf("it is pure"),
		"check":          leaf("it judges what it is handed"),
		"notify":         leaf("it speaks to other systems of alarms, and knows of no backup"),
		"state":          leaf("it keeps what it is handed"),
		"operation":      {[]string{"check", "core", "engine", "evidence", "mysql", "notify", "profile", "repository", "retention", "schedule", "state"}, "it puts the use cases together; configuration and output are the commands' business"},
		"daemon":         {[]string{"core", "progress", "schedule", "state"}, "it starts runs as processes; what they do is not its business"},
		"progress":       leaf("it says how far a run is"),
		"access":         leaf("it knows people and what they may do, and nothing of backups"),
		"gate":           {[]string{"access", "core"}, "it lets requests through or not; what they ask for is not its business"},
		"console":        {[]string{"*"}, "it puts the use cases into the terms of pages and calls; only the commands lie above, and those who serve it"},
		"api":            {[]string{"access", "console", "core", "evidence", "gate"}, "it turns calls into questions to the console"},
		"web":            {[]string{"access", "config/edit", "console", "core", "evidence", "gate"}, "it turns questions to the console into pages"},
		"files":          leaf("it walks trees and knows of no application"),
		"files/capture":  {[]string{"core", "files"}, "it stores trees and knows nothing of how they are put back; what both need belongs in files"},
		"files/restore":  {[]string{"core", "files"}, "it puts trees back and knows nothing of how they were stored; what both need belongs in files"},
		"files/compare":  {[]string{"core", "files", "files/restore"}, "it says how trees differ, in the restore's terms"},
		"files/rights":   {[]string{"core", "files", "files/compare", "files/restore"}, "it says what root has to set by hand, and labels what was staged"},
		"files/exchange": {[]string{"core", "files", "files/compare", "files/restore", "files/rights"}, "it puts trees into the place of live ones, which restore writes for it"},
		"mysql":          leaf("it speaks to servers and knows of no repository"),
		"phpconf":        leaf("it reads PHP and knows of no application"),
		"repository":     leaf("it stores what it is given"),
		"profile":        {[]string{"core", "keys", "phpconf"}, "it says what an application consists of, and leaves it to the engine to fetch it; phpconf reads the applications' configuration for it, keys opens what they encrypt"},
		"keys":           leaf("it opens and seals what it is handed; whose it is, it is told"),
		"evidence":       leaf("it writes down and signs what others saw"),
		"phpserver":      leaf("it runs PHP and knows of no application"),
		"engine":         {[]string{"archive", "core", "evidence", "files", "files/assemble", "files/capture", "files/exchange", "files/restore", "keys", "mysql", "phpconf", "phpserver", "profile", "repository"}, "it composes the leaves; configuration and output are the commands' business"},
		"demo":           {[]string{"config", "core", "engine", "files", "files/capture", "files/restore", "mysql", "phpconf", "profile", "repository"}, "it is a customer of the engine as the commands are"},
		"cli/ui":         {[]string{"core"}, "it knows how things look, not what they are"},
		"cli":            {[]string{"*"}, "it wires the program together"},
		"archtest":       {nil, "it reads source text"},
	}
}

// wiring names the packages that only some may import.
func wiring() []struct {
	pkg    string
	only   []string
	reason string
} {
	return []struct {
		pkg    string
		only   []string
		reason string
	}{
		{"internal/repository/kopia", []string{"internal/repository/kopia", "internal/cli"}, "the engine sees repository.Store; which one it is is decided in cli"},
		{"internal/repository/memory", []string{"internal/repository", "internal/engine/enginetest", "internal/console/consoletest"}, "it is for tests"},
		{"internal/repository/faulty", []string{"internal/repository"}, "it is for tests"},
		{"internal/mysql/localserver", []string{"internal/mysql", "internal/demo", "internal/engine/drill", "internal/cli"}, "backups use the application's own server; only the demo, drills and imports start one"},
		{"internal/console", []string{"internal/console", "internal/api", "internal/web", "internal/cli"}, "pages and calls are its only askers"},
		{"internal/api", []string{"internal/api", "internal/cli"}, "it is served, not used"},
		{"internal/web", []string{"internal/web", "internal/cli"}, "it is served, not used"},
		{"internal/cli", []string{"internal/cli", "cmd/backstay"}, "nothing lies above the commands but main"},
	}
}

// libraries names the libraries that only some packages may import, tests too
// unless said otherwise.
func libraries() []struct {
	library string
	only    []string
	tests   bool // tests may import it everywhere
	reason  string
} {
	return []struct {
		library string
		only    []string
		tests   bool
		reason  string
	}{
		{"github.com/kopia", []string{"internal/repository/kopia"}, false, "kopia is behind the Store seam; see its hazards in docs/adr"},
		{"go.uber.org/zap", []string{"internal/repository/kopia"}, false, "it is kopia's logger; ours is slog"},
		{"github.com/go-mysql-org", []string{"internal/mysql"}, false, "the SQL driver is behind package mysql"},
		{"github.com/go-sql-driver", []string{"internal/mysql"}, false, "the SQL driver is behind package mysql"},
		{"database/sql", []string{"internal/mysql", "internal/state", "internal/access", "test/operations", "test/script"}, false, "the SQL driver is behind package mysql"},
		{"filippo.io/age", []string{"internal/archive", "internal/keys"}, true, "what is sealed is sealed inside a format"},
		{"github.com/klauspost", []string{"internal/archive"}, true, "the repository packs by itself; only archives are packed by us"},
		{"github.com/goccy/go-yaml", []string{"internal/config"}, false, "YAML is read in one place, strictly"},
		{"github.com/VKCOM/php-parser", []string{"internal/phpconf"}, false, "PHP is read in one place"},
		{"github.com/vbauerster/mpb", []string{"internal/cli/ui"}, false, "packages report to core.Progress; ui draws"},
		{"github.com/mattn/go-runewidth", []string{"internal/cli/ui"}, false, "only ui knows how wide text is"},
		{"modernc.org/sqlite", []string{"internal/state", "internal/access", "test/operations", "test/script"}, false, "state is in one place, and who may use it in another"},
		{"github.com/danielgtaylor/huma", []string{"internal/api"}, false, "only the API describes itself"},
		{"github.com/coreos/go-oidc", []string{"internal/access/oidc"}, true, "providers are asked in one place"},
		{"golang.org/x/oauth2", []string{"internal/access/oidc"}, true, "providers are asked in one place"},
		{"github.com/pquerna/otp", []string{"internal/access"}, true, "codes are checked in one place"},
		{"github.com/boombuler/barcode", []string{"internal/keys/kit"}, true, "pages to print are made in one place"},
		{"github.com/tyler-smith/go-bip39", []string{"internal/keys/kit"}, true, "keys become words in one place"},
		{"github.com/corvus-ch/shamir", []string{"internal/keys/kit"}, true, "secrets are split in one place"},
		{"github.com/chromedp", nil, true, "browsers are for tests"},
		{"github.com/nicholas-fedor/shoutrrr", []string{"internal/notify"}, false, "destinations are below notify"},
		{"github.com/wneessen/go-mail", []string{"internal/notify"}, false, "destinations are below notify"},
		{"github.com/robfig/cron", []string{"internal/schedule"}, false, "cron expressions are read in one place"},
		{"github.com/fsnotify/fsnotify", []string{"internal/daemon"}, false, "only the service waits for files to change"},
		{"github.com/coreos/go-systemd", []string{"internal/daemon"}, false, "only the service speaks to systemd"},
		{"github.com/prometheus/client_golang", []string{"internal/daemon"}, false, "only the service shows metrics"},
		{"github.com/spf13/cobra", []string{"internal/cli"}, false, "commands are in cli"},
		{"golang.org/x/term", []string{"internal/cli"}, false, "only the commands meet a terminal"},
		{"github.com/google/go-cmp", nil, true, "go-cmp panics on what it does not know and is for tests"},
		{"github.com/rogpeppe/go-internal", nil, true, "testscript is for tests"},
		{"testing", nil, true, "what is for tests is not part of the program"},
		{"log", nil, false, "it writes to a global; take a *slog.Logger"},
	}
}

// symbols names what of the standard library only some packages may use.
func symbols() []struct {
	names  []string
	only   []string
	tests  bool // tests may use it everywhere
	reason string
} {
	return []struct {
		names  []string
		only   []string
		tests  bool
		reason string
	}{
		{[]string{"os.Exit"}, []string{"cmd/backstay"}, true, "only main may end the process: elsewhere it skips what is deferred"},
		{[]string{"time.Now", "time.Since", "time.Until"}, []string{"internal/core"}, true, "take a core.Clock, so that tests can choose the time"},
		{[]string{"log/slog.SetDefault", "log/slog.Default"}, nil, false, "take a *slog.Logger: the default is a global"},
	}
}

// vagueNames are names that say nothing of what a package owns.
func vagueNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "misc", "models", "types", "base", "shared", "lib"}
}
