package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
)

// unknownFlag suggests the flag of cmd that was probably meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return session.UsageError(err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	hint := strings.TrimSpace(cmd.CommandPath()) + " --help lists the flags"
	if name := config.Nearest(unknown.GetSpecifiedName(), names); name != "" {
		hint = "did you mean --" + name + "? " + hint
	}
	return &core.Error{Code: core.CodeUsage, Message: err.Error(), Hint: hint}
}

// unknownCommand is err, with the command of root that was probably meant where
// args name none.
func unknownCommand(root *cobra.Command, args []string, err error) error {
	if _, _, wrong := root.Find(args); wrong == nil {
		return session.UsageError(err)
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	for _, arg := range args {
		if name := config.Nearest(arg, names); name != "" && !strings.HasPrefix(arg, "-") {
			return &core.Error{Code: core.CodeUsage, Message: err.Error(), Hint: "did you mean backstay " + name + "? backstay --help lists the commands"}
		}
	}
	return session.UsageError(err)
}
