package engine_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// exec runs a statement on a connection of its own, from wherever.
func exec(ctx context.Context, config mysql.Config, statement string) error {
	c, err := mysql.Connect(ctx, config)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	return errors.Join(err, c.Close())
}
