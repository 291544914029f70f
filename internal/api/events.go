package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

const (
	heartbeat  = 15 * time.Second // proxies close what is silent for a minute
	longest    = time.Minute      // of a stream: whose right was taken away must not go on listening
	retryAfter = 3 * time.Second  // for a listener to come back
)

// runEvent is the data of an event: the whole state of a run.
type runEvent struct {
	Schema int `json:"schema"`
	console.Run
}

// events tells of a run until it is over.
func (a *API) events(ctx context.Context, in *OfRun) (*huma.StreamResponse, error) {
	if _, err := a.o.Console.Run(ctx, in.ID); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "text/event-stream")
		ctx.SetHeader("X-Accel-Buffering", "no") // nginx would keep events back
		ctx.SetStatus(http.StatusOK)
		if ctx.Method() == http.MethodHead {
			return
		}
		c := callOf(ctx.Context())
		gate.Patient(c.w)
		within, cancel := context.WithTimeout(ctx.Context(), longest)
		defer cancel()
		s := &stream{w: ctx.BodyWriter(), control: http.NewResponseController(c.w)}
		if err := a.tell(within, s, in.ID); err != nil && ctx.Context().Err() == nil && within.Err() == nil {
			a.o.Log.Debug("tell of a run", "run", in.ID, "err", err)
		}
	}}, nil
}

// tell sends events and, beside them, heartbeats.
func (a *API) tell(ctx context.Context, s *stream, id int64) error {
	if err := s.send(fmt.Sprintf("retry: %d\n\n", retryAfter.Milliseconds())); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beats sync.WaitGroup
	beats.Go(func() {
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := s.send(": still there\n\n"); err != nil {
					cancel() // nobody listens
					return
				}
			}
		}
	})
	defer beats.Wait()
	defer cancel()
	return a.o.Console.Watch(ctx, id, func(run console.Run) error {
		if err := s.event("run", runEvent{Schema, run}); err != nil {
			return err
		}
		if run.Outcome != core.OutcomeRunning {
			return s.event("end", runEvent{Schema, run})
		}
		return nil
	})
}

// stream is a listener. It is safe for concurrent use.
type stream struct {
	mu      sync.Mutex
	w       io.Writer
	control *http.ResponseController
}

// event sends one event.
func (s *stream) event(name string, data any) error {
	text, err := json.Marshal(data) // has no line ends
	if err != nil {
		return fmt.Errorf("describe run: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, text)
	return s.send(b.String())
}

func (s *stream) send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.control.Flush()
}

// eventStream describes the events.
func eventStream() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString, Description: "Events `run` and `end`, each with data as RunEvent; comments every 15 seconds."}}},
	}}
}
