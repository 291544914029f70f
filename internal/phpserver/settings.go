package phpserver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// commands are PHP's functions that start programs, become other users or reach
// other processes, and those that mail. They are switched off everywhere.
const commands = "mail,mb_send_mail,imap_mail,exec,shell_exec,system,passthru,proc_open,popen," +
	"pcntl_exec,pcntl_fork,pcntl_rfork,pcntl_forkx,pcntl_unshare,pcntl_setns," +
	"posix_kill,posix_setuid,posix_seteuid,posix_setgid,posix_setegid,posix_setsid,posix_setpgid,posix_setrlimit,posix_mkfifo," +
	"proc_nice,dl,syslog,openlog,closelog,cli_set_process_title,expect_popen,event_exec"

// network are PHP's functions that reach a network. They are switched off where
// the kernel does not keep PHP off it: an application that needs one of them for
// a page then answers with an error.
const network = "fsockopen,pfsockopen,stream_socket_client,stream_socket_server,stream_socket_sendto,stream_socket_pair," +
	"socket_create,socket_create_listen,socket_connect,socket_sendto,socket_sendmsg,socket_bind,socket_import_stream,socket_addrinfo_connect,socket_addrinfo_lookup," +
	"curl_exec,curl_multi_exec,dns_get_record,dns_check_record,checkdnsrr,dns_get_mx,getmxrr,gethostbyname,gethostbynamel,gethostbyaddr," +
	"ftp_connect,ftp_ssl_connect,ldap_connect,ldap_connect_wallet,imap_open,imap_reopen,ssh2_connect,snmpget,snmpset,snmpwalk,snmp2_get,snmp2_set,snmp2_walk,snmp3_get,snmp3_set,snmp3_walk," +
	"pg_connect,pg_pconnect,oci_connect,oci_pconnect,odbc_connect,odbc_pconnect,sqlsrv_connect,memcache_connect,memcache_add_server"

// networkClasses are classes that do the same.
const networkClasses = "SoapClient,SNMP,Memcached,Memcache,Redis,RedisCluster,MongoDB\\Driver\\Manager,AMQPConnection"

// settings are those of php.ini, in the order in which PHP is given them: the
// last of a name wins. The errors of an application must be seen, and not on
// its pages, where nobody looks for them.
func (o Options) settings(offNetwork bool) ([]string, error) {
	open := append(slices.Clone(o.Within), o.DocumentRoot, o.Temporary)
	slices.Sort(open)
	list := [][2]string{
		{"memory_limit", "512M"}, {"max_execution_time", "110"}, {"max_input_time", "60"},
		{"error_reporting", strconv.Itoa(32767 &^ (8 | 8192 | 1024 | 16384 | 2048))}, // all but notices and what is deprecated
		{"date.timezone", "UTC"},
	}
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		list = append(list, [2]string{name, o.Settings[name]})
	}
	off := commands
	if !offNetwork {
		off += "," + network
		list = append(list, [2]string{"disable_classes", networkClasses})
	}
	list = append(list, [][2]string{
		{"disable_functions", off},
		{"open_basedir", strings.Join(slices.Compact(open), string(os.PathListSeparator))},
		{"allow_url_fopen", "0"}, {"allow_url_include", "0"}, {"enable_dl", "0"}, {"ffi.enable", "0"},
		{"sendmail_path", "/bin/false"}, {"mail.log", ""}, {"imap.enable_insecure_rsh", "0"},
		{"display_errors", "0"}, {"display_startup_errors", "0"}, {"log_errors", "1"}, {"error_log", ""}, {"html_errors", "0"},
		{"session.save_handler", "files"}, {"session.save_path", o.Temporary},
		{"upload_tmp_dir", o.Temporary}, {"sys_temp_dir", o.Temporary}, {"soap.wsdl_cache_dir", o.Temporary},
		{"opcache.enable", "0"}, {"opcache.file_cache", ""}, {"opcache.preload", ""}, {"opcache.lockfile_path", o.Temporary},
		{"xdebug.mode", "off"}, {"newrelic.enabled", "0"},
		{"mysqli.default_socket", o.Socket}, {"pdo_mysql.default_socket", o.Socket}, {"mysqli.default_host", "localhost"},
		{"mysqli.default_port", "3306"}, // of TCP, which is not used
	}...)
	var args []string
	for _, s := range list {
		value, err := quoted(s[1])
		if err != nil || strings.ContainsAny(s[0], "=\n ") {
			return nil, fmt.Errorf("give PHP the setting %s: it cannot be written on a command line: %w", s[0], err)
		}
		args = append(args, "-d", s[0]+"="+value)
	}
	if dir, ok := listed(open); ok {
		return nil, fmt.Errorf("the folder %s has a colon in its name, which PHP takes for two folders", dir)
	}
	return args, nil
}

// quoted is a value as PHP's ini files have it. Text in single quotes stands for
// itself.
func quoted(value string) (string, error) {
	switch {
	case strings.ContainsAny(value, "\n\r\x00"):
		return "", fmt.Errorf("%q has more than one line", value)
	case !strings.Contains(value, "'"):
		return "'" + value + "'", nil
	case !strings.ContainsAny(value, `"\$`):
		return `"` + value + `"`, nil
	}
	return "", fmt.Errorf("%q has quotes of both kinds", value)
}

func listed(dirs []string) (string, bool) {
	for _, dir := range dirs {
		if strings.ContainsRune(dir, os.PathListSeparator) {
			return dir, true
		}
	}
	return "", false
}

// environment has nothing of this process's.
func (o Options) environment(workers int) []string {
	env := []string{
		"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + o.Temporary, "TMPDIR=" + o.Temporary, "PWD=" + filepath.Clean(o.DocumentRoot),
	}
	if workers > 1 {
		env = append(env, "PHP_CLI_SERVER_WORKERS="+strconv.Itoa(workers))
	}
	return env
}
