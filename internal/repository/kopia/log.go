package kopia

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/kopia/kopia/repo/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// withLog returns a context in which kopia logs to logger. kopia calls normal
// conditions information and tells of errors that it also returns; here the
// first is debug, and nothing of kopia's is more than a warning.
func withLog(ctx context.Context, logger *slog.Logger) context.Context {
	var modules sync.Map
	return logging.WithLogger(ctx, func(module string) logging.Logger {
		if l, ok := modules.Load(module); ok {
			return l.(logging.Logger)
		}
		l := zap.New(&slogCore{logger: logger.With("kopia", module), ctx: context.WithoutCancel(ctx)}).Sugar()
		modules.Store(module, l)
		return l
	})
}

// slogCore is a zapcore.Core that writes to a slog.Logger.
type slogCore struct {
	logger *slog.Logger
	ctx    context.Context // for the logger's handler only
}

var _ zapcore.Core = (*slogCore)(nil)

// Errors that Open returns, which says what a person can do; kopia logs them too.
const openFailed = "failed to open repository"

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

func (c *slogCore) Enabled(l zapcore.Level) bool { return c.logger.Enabled(c.ctx, slogLevel(l)) }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{logger: c.logger.With(attributes(fields)...), ctx: c.ctx}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return ce
	}
	return ce.AddCore(e, c)
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slogLevel(e.Level)
	if strings.HasPrefix(e.Message, openFailed) {
		level = slog.LevelDebug
	}
	c.logger.Log(c.ctx, level, e.Message, attributes(fields)...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]any, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	return attrs
}
