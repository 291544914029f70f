package appkeys

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys/itop"
	"github.com/backstay/backstay/internal/phpconf"
)

const (
	opITop = "open iTop's encrypted fields"
	// settingConfig is iTop's configuration file among the settings that its
	// profile found, relative to the root.
	settingConfig = "config"
	defaultConfig = "conf/production/config-itop.php"
)

func liveConfig(app *core.Application) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		return os.ReadFile(filepath.Join(app.Root, cmp.Or(app.Settings[settingConfig], defaultConfig)))
	}
}

func storedConfig(o *engine.Open) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		var text bytes.Buffer
		err := o.Cat(ctx, "config/app/"+cmp.Or(o.Manifest.Settings[settingConfig], defaultConfig), &text)
		return text.Bytes(), err
	}
}

// CheckITop opens every encrypted field, and what history keeps of them, with
// the key of the configuration: the captured one of a backup. config is another
// configuration's text, where that is not to be taken; nil: it is.
func CheckITop(ctx context.Context, s *Source, config []byte) (*itop.Verdict, string, error) {
	if err := s.of("itop", "iTop", "backstay key itflow opens ITFlow's master key"); err != nil {
		return nil, "", err
	}
	key, err := s.itopKey(ctx, config)
	if err != nil {
		return nil, "", err
	}
	v, err := itop.Check(ctx, key, s.prefix, s.Columns, s.Rows)
	return v, key.Library(), err
}

// itopKey reads the key of a configuration.
func (s *Source) itopKey(ctx context.Context, config []byte) (itop.Key, error) {
	const another = "give a configuration that has it with --config-file FILE"
	var err error
	if config == nil {
		config, err = s.config(ctx)
		if err != nil && ctx.Err() == nil {
			return itop.Key{}, &core.Error{Code: cmp.Or(core.CodeOf(err), core.CodeApplication), Op: opITop, Message: "the configuration, which holds the key, cannot be read", Err: err, Hint: another}
		}
		if err != nil {
			return itop.Key{}, err
		}
	}
	file, err := phpconf.Parse(config)
	if err != nil {
		return itop.Key{}, &core.Error{Code: core.CodeApplication, Op: opITop, Message: "the configuration, which holds the key, cannot be read", Err: err, Hint: another}
	}
	key, err := setting(file, "encryption_key")
	if err != nil {
		return itop.Key{}, &core.Error{Code: core.CodeApplication, Op: opITop, Err: err, Hint: another}
	}
	library, err := setting(file, "encryption_library")
	if err != nil {
		return itop.Key{}, &core.Error{Code: core.CodeApplication, Op: opITop, Err: err, Hint: another}
	}
	if sealedSetting(key) {
		return itop.Key{}, &core.Error{
			Code: core.CodeApplication, Op: opITop, Message: "the captured configuration is without its secrets, which are sealed",
			Hint: "whoever has the key of a recipient can take the configuration out of the secrets; then " + another,
		}
	}
	if key == "" {
		key = defaultKey
	}
	k, err := itop.NewKey(library, core.NewSecret(key))
	if err != nil {
		return itop.Key{}, &core.Error{Code: core.CodeApplication, Op: opITop, Err: err, Hint: "correct it in iTop's configuration: iTop itself can open nothing with it; or " + another}
	}
	return k, nil
}

// defaultKey is the one of an iTop whose configuration has none
// (DEFAULT_ENCRYPTION_KEY of core/config.class.inc.php). It is no secret.
const defaultKey = "@iT0pEncr1pti0n!"

// setting reads a setting of $MySettings as iTop does. The error holds nothing
// of its value.
func setting(file *phpconf.File, name string) (string, error) {
	settings, ok := file.Variable("MySettings")
	if !ok {
		return "", fmt.Errorf("the configuration does not set $MySettings")
	}
	if !settings.IsLiteral() {
		return "", fmt.Errorf("$MySettings cannot be read without PHP: %s", settings.Why())
	}
	v, ok := settings.Get(name)
	switch {
	case !ok:
		return "", nil
	case !v.IsLiteral():
		return "", fmt.Errorf("%s cannot be read without PHP: %s", name, v.Why())
	}
	text := strings.Trim(v.Text(), " \t\n\r\v\x00")
	if strings.Contains(text, "%env(") || strings.Contains(text, "%server(") {
		return "", fmt.Errorf("%s is a placeholder for the environment of the web server", name)
	}
	return text, nil
}
