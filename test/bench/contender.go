package main

import (
	"context"
	"fmt"
	"runtime"
)

// contender is one of those that are measured in turn.
type contender struct {
	name    string
	prepare func(context.Context) error // makes what it needs and clears what it left; not measured; may be nil
	command command
	output  string                                      // file or folder that it writes, to measure by how much it grows; "" for none
	check   func(ctx context.Context, first bool) error // not measured; first in the first round; may be nil
}

// series is the samples of one contender, one a round.
type series struct {
	name    string
	stores  bool // it has an output
	samples []sample
}

// busyShare is the share of the machine that others may use during a run
// before its seconds are doubtful.
const busyShare = 0.1

// alternate lets all contenders run in turn, in every round.
func (b *bench) alternate(ctx context.Context, rounds int, contenders []contender) ([]*series, error) {
	all := make([]*series, len(contenders))
	for i, c := range contenders {
		all[i] = &series{name: c.name, stores: c.output != ""}
	}
	for round := range rounds {
		for i, c := range contenders {
			s, err := b.once(ctx, c, round == 0)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[i].samples = append(all[i].samples, s)
			b.say("round %d of %d: %s: %.1f s, %.1f s of CPU, %.1f s of the server's, %.1f s of others, %s MB",
				round+1, rounds, c.name, s.wall, s.cpu, s.serverCPU, s.othersCPU, megabytes(s.memory))
		}
	}
	return all, nil
}

func (b *bench) once(ctx context.Context, c contender, first bool) (sample, error) {
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return sample{}, fmt.Errorf("prepare: %w", err)
		}
	}
	if err := b.lab.rest(ctx); err != nil {
		return sample{}, err
	}
	before, err := diskUse(c.output)
	if err != nil {
		return sample{}, err
	}
	s, err := measure(ctx, c.command, b.lab.pid)
	if err != nil {
		return s, err
	}
	after, err := diskUse(c.output)
	if err != nil {
		return s, err
	}
	s.stored = after - before
	b.runs++
	if s.othersCPU > busyShare*s.wall*float64(runtime.NumCPU()) {
		b.busyRuns++
	}
	if c.check != nil {
		if err := c.check(ctx, first); err != nil {
			return s, fmt.Errorf("check: %w", err)
		}
	}
	return s, nil
}
