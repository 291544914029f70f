package phpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// find returns the path of PHP's program itself, behind links.
func find(path string) (string, error) {
	name := path
	if name == "" {
		name = "php"
	}
	found, err := exec.LookPath(name)
	if err == nil {
		found, err = filepath.EvalSymlinks(found)
	}
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return "", &core.Error{Code: core.CodeUnsupported, Op: "find PHP", Message: "PHP's command line program is not installed here",
			Hint: "apt install php-cli php-mysql, with the extensions that the application needs", Err: err}
	}
	return found, nil
}

// abilities are what PHP says of itself.
type abilities struct {
	Version   string
	MySQLi    bool
	PDO       bool
	Temporary bool // it can write there
	Root      bool // it can read that
}

const question = `echo "\x01", json_encode(["Version" => PHP_VERSION, "MySQLi" => extension_loaded("mysqli"), "PDO" => extension_loaded("pdo_mysql"),
"Temporary" => is_writable($argv[1]), "Root" => is_readable($argv[2])]), "\x01";`

// ask asks PHP, in the place and with the settings that the application will
// have, whether it can serve.
func (r *room) ask(ctx context.Context, program string, o Options) (abilities, error) {
	const op = "ask PHP for its version"
	settings, err := o.settings(r.offNetwork())
	if err != nil {
		return abilities{}, err
	}
	var out strings.Builder
	printed := newPrinted()
	p, err := r.start(program, append(settings, "-r", question, "--", o.Temporary, o.DocumentRoot), o, 1, &out, printed)
	if err != nil {
		return abilities{}, fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		return abilities{}, errors.Join(fmt.Errorf("%s: %w", op, ctx.Err()), p.end())
	}
	var a abilities
	_, text, found := strings.Cut(out.String(), "\x01")
	text, _, closed := strings.Cut(text, "\x01")
	if !found || !closed || json.Unmarshal([]byte(text), &a) != nil {
		how, _ := p.ended()
		return abilities{}, &core.Error{Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("%s does not answer (%s): %s", program, how, printed.last()),
			Hint: "see whether php -v works, or name another PHP"}
	}
	if err := p.end(); err != nil {
		return abilities{}, err
	}
	switch {
	case o.Socket != "" && !a.MySQLi && !a.PDO:
		return a, &core.Error{Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("PHP %s has not the extension mysqli, without which an application does not reach its database", a.Version),
			Hint: "apt install php-mysql"}
	case !a.Temporary:
		return a, &core.Error{Code: core.CodeDisk, Op: op, Message: fmt.Sprintf("PHP cannot write to its temporary folder %s%s", o.Temporary, r.asWhom(o))}
	case !a.Root:
		return a, &core.Error{Code: core.CodeDisk, Op: op, Message: fmt.Sprintf("PHP cannot read the folder to serve, %s%s", o.DocumentRoot, r.asWhom(o)),
			Hint: "its user must be able to enter every folder above it"}
	}
	if o.Socket != "" && !a.MySQLi {
		printedMissing(o)
	}
	return a, nil
}

func printedMissing(o Options) {
	o.Log.Warn("PHP has not the extension mysqli; only applications that use PDO reach their database", "hint", "apt install php-mysql")
}
