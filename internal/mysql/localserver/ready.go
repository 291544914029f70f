package localserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const readyInterval = 10 * time.Millisecond

var errEnded = errors.New("it ended")

// waitReady waits until the server behind the socket greets a client, ended is
// closed or ctx is done.
func waitReady(ctx context.Context, socket string, ended <-chan struct{}) error {
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := greet(ctx, socket)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w (last: %w)", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// greet connects and reads the first packet, which a server sends unasked:
// 3 bytes length, 1 byte number, 1 byte protocol version (10), the server's
// version. A server that is not ready sends an error packet (255) instead.
func greet(ctx context.Context, socket string) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var head [5]byte
	_, err = io.ReadFull(conn, head[:])
	if err == nil && head[4] != 10 {
		err = fmt.Errorf("the first packet has protocol version %d instead of 10", head[4])
	}
	return errors.Join(err, conn.Close())
}

// How much of the server's log an error quotes.
const (
	quotedLines = 12
	quotedBytes = 16 << 10
)

// failure returns err with the end of the server's log.
func (s *Server) failure(op string, err error) error {
	tail, readErr := readLog(s.ErrorLog(), s.logFrom)
	if readErr != nil {
		err = errors.Join(err, readErr)
	}
	result := &core.Error{Code: core.CodeDatabase, Op: op, Err: err}
	switch {
	case errors.Is(err, errEnded) && (strings.Contains(tail, "Bind on TCP/IP port") || strings.Contains(tail, "Address already in use")):
		result.Err = errors.Join(errPortTaken, err)
		result.Hint = errPortTaken.Hint
	case saysDiskFull(tail):
		result.Code = core.CodeDisk
		result.Message = "the disk is full"
		result.Hint = fullHint(s.Dir)
	}
	if tail != "" {
		result.Err = fmt.Errorf("%w; the server's log says:\n%s", result.Err, quote(tail))
	}
	return result
}

// diskError returns err, as a core.Error when it is a full disk.
func diskError(op, dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &core.Error{Code: core.CodeDisk, Op: op, Message: "the disk is full", Hint: fullHint(dir), Err: err}
	}
	var coded *core.Error
	if errors.As(err, &coded) {
		return err
	}
	return fmt.Errorf("%s: %w", op, err)
}

func fullHint(dir string) string {
	return fmt.Sprintf("free some space where %s is, or set TMPDIR to a folder with more room", dir)
}

// diskFull is how servers word ENOSPC, which is 28: their own way, InnoDB's
// and Aria's.
var diskFull = regexp.MustCompile(`(?i)no space left on device|out of disk space|err(no|or|code)[: ]+28\b`)

func saysDiskFull(text string) bool { return diskFull.MatchString(text) }

// quote chooses from a server's output what an error should show: the lines
// that are errors, or else the last ones.
func quote(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var errorLines []string
	for _, line := range lines {
		if strings.Contains(line, "[ERROR]") {
			errorLines = append(errorLines, line)
		}
	}
	if len(errorLines) > 0 {
		return strings.Join(errorLines[:min(len(errorLines), quotedLines)], "\n")
	}
	return strings.Join(lines[max(0, len(lines)-quotedLines):], "\n")
}

// readLog returns the end of the log, without what is before the offset.
func readLog(path string, offset int64) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the server's log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the server's log: %w", err)
	}
	offset = max(offset, info.Size()-quotedBytes)
	data, err := io.ReadAll(io.NewSectionReader(f, offset, quotedBytes))
	if err != nil {
		return "", fmt.Errorf("read the server's log: %w", err)
	}
	return string(data), nil
}
