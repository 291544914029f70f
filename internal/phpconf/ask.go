package phpconf

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "embed"

	"github.com/backstay/backstay/internal/core"
)

// askTimeout is how long PHP may take to evaluate one configuration file.
const askTimeout = 10 * time.Second

// maxAnswer is the size in bytes of the longest answer taken from PHP.
const maxAnswer = 8 << 20

//go:embed ask.php
var askProgram string

// Question is what AskPHP is to find out.
type Question struct {
	File      string            // the configuration file
	Source    []byte            // its content, where that is not what the file holds now; nil: the file is read
	Variables []string          // names, without $
	Constants map[string]string // what the application defines before it reads the file
	PHP       string            // the php program; "": php from PATH
	Env       []string          // "NAME=value"; nil: this process's, without BACKSTAY_…
	Dir       string            // what __DIR__ shall be; "": the file's folder
}

// AskPHP has PHP evaluate a configuration file and returns the variables that
// are set at its end. It is for files in which a needed value is not literal:
// it runs code that the application's owner wrote. So it runs without php.ini
// and extensions, without functions that write, connect or start programs,
// with limits on time, memory and written files, and, where this process is
// root, as the owner of the file, never as root.
//
// The error is a core.Error: no PHP here, PHP refused the file, or it took too
// long.
func AskPHP(ctx context.Context, q Question) (*File, error) {
	fail := func(message string, cause error) error {
		return &core.Error{
			Code: core.CodeApplication, Op: "ask PHP for the settings in " + q.File, Message: message, Err: cause,
			Hint: "give the database under database: in backstay.yaml, or write the settings as plain strings",
		}
	}
	src := q.Source
	var err error
	if src == nil {
		if src, err = read(q.File); err != nil {
			return nil, err
		}
	}
	if len(src) > MaxSize {
		return nil, fail("the file is too large for a configuration file", nil)
	}
	php := q.PHP
	if php == "" {
		php = "php"
	}
	if php, err = exec.LookPath(php); err != nil {
		return nil, fail("there is no php program here", err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		return nil, fail("there is no shell to limit PHP with", err)
	}
	request, err := json.Marshal(map[string]any{
		"code": base64.StdEncoding.EncodeToString(src), "variables": q.Variables, "constants": q.Constants,
	})
	if err != nil {
		return nil, fail("", err)
	}

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dir := q.Dir
	if dir == "" {
		dir = filepath.Dir(q.File)
	}
	var out *boundedBuffer
	run := func(dir string) error {
		cmd := exec.CommandContext(ctx, shell, append([]string{"-c", askLimits, "sh", php}, askArguments()...)...)
		cmd.Dir = dir
		if cmd.Env = q.Env; cmd.Env == nil {
			cmd.Env = environment()
		}
		cmd.Stdin = bytes.NewReader(request)
		out = &boundedBuffer{left: maxAnswer}
		cmd.Stdout = out
		cmd.WaitDelay = time.Second
		if err := confine(cmd, q.File); err != nil {
			return err
		}
		return cmd.Run()
	}
	runErr := run(dir)
	if errors.Is(runErr, fs.ErrPermission) || errors.Is(runErr, fs.ErrNotExist) {
		runErr = run("/") // the file's owner may not enter its folder, or it is not there yet
	}
	if cause := ctx.Err(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return nil, fail("PHP took longer than "+askTimeout.String(), nil)
		}
		return nil, fmt.Errorf("ask PHP for the settings in %s: %w", q.File, cause)
	}
	if out.overflown {
		return nil, fail("the file makes PHP print too much", nil)
	}
	// The answer may come though the file ended in an error: what it set before
	// is worth knowing, and what is missing shows as missing.
	f, err := parseAnswer(out.Bytes())
	if err != nil {
		return nil, fail("PHP could not evaluate the file", errors.Join(runErr, err))
	}
	return f, nil
}

// askLimits runs PHP under limits: seconds of processor time, no written files
// (blocks), no core dumps, KiB of address space. A limit that the system does
// not know is left out.
const askLimits = `ulimit -t 10; ulimit -f 0; ulimit -c 0; ulimit -v 4000000 2>/dev/null; exec "$@"`

func askArguments() []string {
	disabled := []string{
		"exec", "shell_exec", "system", "passthru", "proc_open", "popen", "pcntl_exec", "pcntl_fork", "posix_kill", "mail", "dl",
		"fsockopen", "pfsockopen", "stream_socket_client", "stream_socket_server", "stream_socket_accept", "socket_create", "curl_init",
		"file_put_contents", "fopen", "copy", "rename", "unlink", "rmdir", "mkdir", "chmod", "chown", "chgrp", "lchown", "lchgrp", "touch",
		"symlink", "link", "tempnam", "tmpfile", "move_uploaded_file", "error_log", "syslog", "putenv", "ini_set", "ini_alter",
		"mysqli_connect", "mysqli_set_charset", "mysqli_query", "mysqli_connect_error", "set_time_limit", "ignore_user_abort", "sleep", "usleep",
	}
	return []string{
		"-n", "-d", "display_errors=0", "-d", "log_errors=0", "-d", "memory_limit=64M", "-d", "max_execution_time=5",
		"-d", "allow_url_fopen=0", "-d", "allow_url_include=0", "-d", "opcache.enable_cli=0", "-d", "variables_order=EGPCS",
		"-d", "disable_functions=" + strings.Join(disabled, ","), "-d", "disable_classes=SplFileObject,SplTempFileObject,mysqli,PDO",
		"-r", askProgram,
	}
}

func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "BACKSTAY_") {
			env = append(env, e)
		}
	}
	return env
}

type boundedBuffer struct {
	bytes.Buffer
	left      int
	overflown bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		b.overflown = true
		return 0, errors.New("too much output")
	}
	return b.Buffer.Write(p)
}

// answer is the JSON form of a value that ask.php writes: text is base64.
type answer struct {
	Type  string            `json:"t"`
	Text  string            `json:"v"`
	Items [][2]answerOrText `json:"i"`
}

// answerOrText is a key (base64 text) or a value.
type answerOrText struct {
	key    string
	answer answer
}

func (a *answerOrText) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &a.key)
	}
	return json.Unmarshal(data, &a.answer)
}

const answerMark = "\x01backstay-answer\x01"

func parseAnswer(out []byte) (*File, error) {
	at := bytes.LastIndex(out, []byte(answerMark))
	if at < 0 {
		return nil, errors.New("there is no answer")
	}
	var answers map[string]answer
	if err := json.Unmarshal(out[at+len(answerMark):], &answers); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	f := &File{variables: map[string]Value{}, constants: map[string]Value{}}
	for name, a := range answers {
		v, err := a.value()
		if err != nil {
			return nil, err
		}
		f.variables[name] = v
	}
	return f, nil
}

func (a answer) value() (Value, error) {
	text, err := base64.StdEncoding.DecodeString(a.Text)
	if err != nil {
		return Value{}, fmt.Errorf("read the answer: %w", err)
	}
	switch a.Type {
	case "null":
		return Value{}, nil
	case "bool":
		return Value{kind: Bool, bool: string(text) == "1"}, nil
	case "int":
		n, err := strconv.ParseInt(string(text), 10, 64)
		return Value{kind: Int, int: n}, err
	case "float":
		n, err := strconv.ParseFloat(string(text), 64)
		return Value{kind: Float, float: n}, err
	case "string":
		return Value{kind: String, text: string(text)}, nil
	case "array":
		out := newArray()
		for _, item := range a.Items {
			name, err := base64.StdEncoding.DecodeString(item[0].key)
			if err != nil {
				return Value{}, fmt.Errorf("read the answer: %w", err)
			}
			v, err := item[1].answer.value()
			if err != nil {
				return Value{}, err
			}
			out.set(arrayKey(string(name)), v)
		}
		return Value{kind: Array, array: out}, nil
	}
	return Value{kind: NotLiteral, why: "PHP makes it something other than text, numbers and arrays"}, nil
}
