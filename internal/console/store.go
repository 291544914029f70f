package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/doctor"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/schedule"
)

const (
	growthDays    = 90
	doctorTimeout = 20 * time.Second
	spaceFresh    = 30 * time.Second
)

// Repository looks at it.
func (c *Console) Repository(ctx context.Context) (RepositoryInfo, error) {
	cfg := c.o.Config()
	info := RepositoryInfo{URL: cfg.Repository.URL, Apps: map[string]int{}, Problems: []core.Problem{}, Key: c.key(cfg)}
	o, err := c.Overview(ctx)
	if err != nil {
		return RepositoryInfo{}, err
	}
	for _, p := range o.Problems {
		if p.Topic == core.TopicRepository {
			info.Problems = append(info.Problems, p)
		}
	}
	if l, err := c.list(ctx); err != nil {
		info.Error = err.Error()
	} else {
		info.Backups = len(l.all)
		for app, own := range l.byApp {
			info.Apps[app] = len(own)
			for _, r := range own {
				info.Logical += r.LogicalBytes
			}
		}
	}
	if s, err := c.space.get(ctx, c.o.Clock.Now, spaceFresh, 10*time.Minute, c.askSpace); err == nil {
		info.Space = &s
	}
	now := c.o.Clock.Now()
	db := c.o.State(ctx)
	if info.Growth, err = db.Space(ctx, cfg.Repository.URL, now.AddDate(0, 0, -growthDays)); err != nil {
		c.o.Log.Warn("read how the repository grew", "err", err)
	}
	if info.Maintained, err = db.LastRun(ctx, "", core.RunMaintain); err != nil {
		c.o.Log.Warn("read when the repository was maintained", "err", err)
	}
	if s, err := schedule.Compile(cfg.Service.Maintenance, ""); err == nil && !cfg.Service.Maintenance.Off {
		next := s.Keyed(operation.JobKey(core.RunMaintain, "", cfg.Service.Maintenance.Name)).Begins(now)
		if !next.IsZero() {
			info.Next = &next
		}
	}
	return info, nil
}

func (c *Console) askSpace(ctx context.Context) (s core.Space, err error) {
	err = c.with(ctx, func(r Repository) (err error) {
		s, err = r.Engine().Store.Space(ctx)
		return err
	})
	return s, err
}

// key says where the repository's key is, and whether it can be read now.
func (c *Console) key(cfg *config.Config) Key {
	source := cfg.Repository.SecretSource
	var k Key
	switch {
	case source.PasswordFile != "":
		k.Source = "file " + source.PasswordFile
		if info, err := os.Stat(source.PasswordFile); err == nil {
			changed := info.ModTime()
			k.Changed = &changed
		}
	case source.PasswordEnv != "":
		k.Source = "environment " + source.PasswordEnv
	case source.Given():
		k.Source = "the configuration"
	}
	if _, err := config.ResolveSecret(source, "the repository", os.LookupEnv); err != nil {
		k.Trouble = err.Error()
	} else {
		k.Readable = true
	}
	return k
}

// ShowKey returns the repository's key, for somebody who has to keep a copy elsewhere.
func (c *Console) ShowKey(context.Context) (core.Secret, error) {
	return config.ResolveSecret(c.o.Config().Repository.SecretSource, "the repository", os.LookupEnv)
}

// Doctor looks now whether an app can be backed up and restored: database,
// rights, files, free space, versions. It takes some seconds at most.
func (c *Console) Doctor(ctx context.Context, app string) ([]Check, error) {
	if err := c.known(app); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	checks := []Check{}
	look := func(r Repository) error {
		for _, a := range r.Caretaker(ctx).Apps {
			if a.Name != app {
				continue
			}
			target, err := a.Target()
			if err != nil {
				return err
			}
			for _, found := range doctor.App(ctx, r.Engine(), target) {
				checks = append(checks, Check{Name: found.Name, Health: string(found.Health), Message: found.Message, Hint: found.Hint})
			}
			return nil
		}
		return noApp(app)
	}
	err := c.with(ctx, func(r Repository) error {
		s, err := r.Engine().Store.Space(ctx)
		if err != nil {
			return err
		}
		checks = append(checks, spaceCheck(s))
		return look(r)
	})
	if err != nil && len(checks) == 0 && ctx.Err() == nil { // the repository: the app can still be looked at
		checks = append(checks, Check{Name: "repository", Health: string(doctor.Broken), Message: err.Error(), Hint: core.HintOf(err)})
		without, werr := c.o.Without(err)
		if werr != nil {
			return nil, errors.Join(err, werr)
		}
		err = look(without)
	}
	if err != nil && len(checks) > 0 {
		checks = append(checks, Check{Name: "app", Health: string(doctor.Broken), Message: err.Error(), Hint: core.HintOf(err)})
		err = nil
	}
	return checks, err
}

// spaceCheck judges the repository's free space by itself; checks judge it by
// what the apps need.
func spaceCheck(s core.Space) Check {
	switch {
	case s.Free < 0:
		return Check{Name: "repository", Health: string(doctor.Healthy), Message: "it can be read; how much space is left is not known"}
	case s.Free < lowSpace:
		return Check{Name: "repository", Health: string(doctor.Caution), Message: fmt.Sprintf("%d MB are free", s.Free/1e6), Hint: "give it more space, or keep fewer backups"}
	}
	return Check{Name: "repository", Health: string(doctor.Healthy), Message: fmt.Sprintf("it can be read and written; %.1f GB are free", float64(s.Free)/1e9)}
}

const lowSpace = 1 << 30
