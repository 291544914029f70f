package mysql_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// account makes a user with an IDENTIFIED clause of its own.
func account(t *testing.T, name, identified string) {
	t.Helper()
	mysqltest.Exec(t, "DROP USER IF EXISTS "+name, "CREATE USER "+name+" "+identified)
	t.Cleanup(func() {
		c, err := mysql.Connect(context.WithoutCancel(t.Context()), mysqltest.Config(t, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Exec(context.WithoutCancel(t.Context()), "DROP USER "+name); err != nil {
			t.Error(err)
		}
	})
}

// whoAmI connects and asks the server as whom, and how.
func whoAmI(ctx context.Context, c mysql.Config) (user, cipher string, err error) {
	conn, err := mysql.Connect(ctx, c)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	rows, err := conn.Query(ctx, "SELECT CURRENT_USER()")
	if err != nil {
		return "", "", err
	}
	status, err := conn.Query(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	if err != nil {
		return "", "", err
	}
	return rows[0][0].Text, status[0][1].Text, nil
}

// wantError checks code, text and that there is a hint.
func wantError(t *testing.T, err error, code core.Code, texts ...string) {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Errorf("code %q, want %q: %v", core.CodeOf(err), code, err)
	}
	if core.HintOf(err) == "" && code != core.CodeCancelled {
		t.Errorf("no hint: %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}

func TestConnect(t *testing.T) {
	server := mysqltest.Server(t)
	byTCP := func(c mysql.Config) mysql.Config {
		c.Socket, c.Host, c.Port = "", "127.0.0.1", server.Port
		return c
	}
	mariaDB := mysqltest.OnMariaDB(t)
	hasED25519 := false
	if mariaDB {
		_, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Exec(t.Context(), "INSTALL SONAME 'auth_ed25519'")
		hasED25519 = err == nil
	}
	anyBytes := "p\x01'\"\\`ä\xf0\x9f\x94\x90 %_\t"
	long := strings.Repeat("long", 40)
	native := "IDENTIFIED VIA mysql_native_password USING PASSWORD(%s)"
	clauses := map[string]string{"native": native, "ed25519": "IDENTIFIED VIA ed25519 USING PASSWORD(%s)"}
	if !mariaDB {
		clauses = map[string]string{
			"caching_sha2": "IDENTIFIED WITH caching_sha2_password BY %s",
			"sha256":       "IDENTIFIED WITH sha256_password BY %s",
		}
	}
	for plugin, clause := range clauses {
		for what, password := range map[string]string{"plain": "secret", "any bytes": anyBytes, "long": long, "empty": ""} {
			t.Run(plugin+"/"+what, func(t *testing.T) {
				if plugin == "ed25519" && !hasED25519 {
					t.Skip("this server comes without the plugin")
				}
				if password == "" && plugin == "ed25519" {
					t.Skip("the plugin refuses empty passwords")
				}
				identified := fmt.Sprintf(clause, mysql.QuoteText(password))
				if !mariaDB {
					identified = fmt.Sprintf(clause, "'"+strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(password)+"'")
				}
				if strings.Contains(identified, "CONVERT(") {
					identified = fmt.Sprintf(clause, "'"+strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(password)+"'")
				}
				account(t, "'conn'@'%'", identified)
				c := mysqltest.Config(t, "")
				c.User, c.Password = "conn", core.NewSecret(password)
				// By TCP first: the server has no remembered hash then. Twice: now it has.
				for i, config := range []mysql.Config{byTCP(c), byTCP(c), c, c} {
					got, _, err := whoAmI(t.Context(), config)
					if err != nil || got != "conn@%" {
						t.Errorf("login %d: user %q, error %v", i, got, err)
					}
				}
				for _, config := range []mysql.Config{c, byTCP(c)} {
					config.Password = core.NewSecret("wrong")
					_, err := mysql.Connect(t.Context(), config)
					wantError(t, err, core.CodeDatabase, `the server refused user "conn"`)
					if strings.Contains(err.Error(), "wrong") {
						t.Errorf("the password is in the error: %v", err)
					}
				}
			})
		}
	}
	t.Run("socket as the system's user", func(t *testing.T) {
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		if !mariaDB {
			t.Skip("MySQL's auth_socket is a plugin that not every installation has")
		}
		own := mysqltest.Start(t, localserver.Options{})
		mysqltest.ExecOn(t, mysqltest.ConfigOf(own, ""), "CREATE USER other@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('x')",
			"CREATE OR REPLACE USER "+mysql.QuoteText(me.Username)+"@localhost IDENTIFIED VIA unix_socket")
		c := mysqltest.ConfigOf(own, "")
		c.User, c.Password = me.Username, core.NewSecret("nobody asks")
		if got, _, err := whoAmI(t.Context(), c); err != nil || got != me.Username+"@localhost" {
			t.Errorf("user %q, error %v", got, err)
		}
		c.User, c.Password = "other", core.NewSecret("x")
		if got, _, err := whoAmI(t.Context(), c); err != nil || got != "other@localhost" {
			t.Errorf("the second plugin of an account: user %q, error %v", got, err)
		}
		c.Password = core.NewSecret("y")
		_, err = mysql.Connect(t.Context(), c)
		wantError(t, err, core.CodeDatabase, "the server refused user")
	})
	t.Run("unknown database", func(t *testing.T) {
		_, err := mysql.Connect(t.Context(), mysqltest.Config(t, "no_such"))
		wantError(t, err, core.CodeDatabase, `there is no database "no_such"`)
	})
	t.Run("database without rights", func(t *testing.T) {
		c := mysqltest.User(t)
		c.Database = mysqltest.Database(t)
		_, err := mysql.Connect(t.Context(), c)
		wantError(t, err, core.CodeDatabase, "may not use database")
	})
	t.Run("locked account", func(t *testing.T) {
		c := mysqltest.User(t)
		mysqltest.Exec(t, "ALTER USER '"+c.User+"'@'%' ACCOUNT LOCK")
		_, err := mysql.Connect(t.Context(), c)
		wantError(t, err, core.CodeDatabase, "locked")
	})
	t.Run("no socket", func(t *testing.T) {
		_, err := mysql.Connect(t.Context(), mysql.Config{Socket: filepath.Join(t.TempDir(), "none.sock"), User: "root"})
		wantError(t, err, core.CodeDatabase, "no server listens there")
	})
	t.Run("socket without a server", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = mysql.Connect(t.Context(), mysql.Config{Socket: path, User: "root"})
		wantError(t, err, core.CodeDatabase, "no server listens there")
	})
	t.Run("no port", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = mysql.Connect(t.Context(), mysql.Config{Host: "127.0.0.1", Port: port, User: "root"})
		wantError(t, err, core.CodeDatabase, "no server listens there")
	})
	t.Run("unknown TLS mode", func(t *testing.T) {
		c := mysqltest.Config(t, "")
		c.TLS.Mode = "sometimes"
		_, err := mysql.Connect(t.Context(), c)
		wantError(t, err, core.CodeConfig, `"sometimes"`)
	})
}

func TestSessionIsPrepared(t *testing.T) {
	c := mysqltest.Connect(t, mysqltest.Config(t, ""))
	rows, err := c.Query(t.Context(), "SELECT @@sql_mode, @@time_zone, @@autocommit, @@character_set_client, @@character_set_connection, @@character_set_results")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "+00:00", "1", "utf8mb4", "utf8mb4", "utf8mb4"} {
		if rows[0][i].Text != want {
			t.Errorf("setting %d is %q, want %q", i, rows[0][i].Text, want)
		}
	}
}

// authority is a certificate authority of the test's own.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	path string
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{path: filepath.Join(dir, name+".pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.path, "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", pkcs8)
	return cert, key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	right, wrong := newAuthority(t, dir, "right"), newAuthority(t, dir, "wrong")
	cert, key := right.issue(t, dir, "localhost")
	server := mysqltest.Start(t, localserver.Options{TCP: true, Args: []string{"--ssl-ca=" + right.path, "--ssl-cert=" + cert, "--ssl-key=" + key}})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE USER tls@'%' IDENTIFIED BY 'x' REQUIRE SSL", "CREATE USER any@'%' IDENTIFIED BY 'x'")
	for _, c := range []struct {
		mode, ca, host, user string
		cipher               bool
		fails                string
	}{
		{mode: "", host: "127.0.0.1", user: "any"},
		{mode: "", host: "127.0.0.1", user: "tls", fails: "the server refused user"},
		{mode: "preferred", host: "127.0.0.1", user: "tls", cipher: true},
		{mode: "required", host: "127.0.0.1", user: "tls", cipher: true},
		{mode: "verify-ca", ca: right.path, host: "127.0.0.1", user: "tls", cipher: true},
		{mode: "verify-ca", ca: wrong.path, host: "127.0.0.1", user: "tls", fails: "certificate"},
		{mode: "verify-ca", host: "127.0.0.1", user: "tls", fails: "certificate"}, // the system's authorities
		{mode: "verify-full", ca: right.path, host: "localhost", user: "tls", cipher: true},
		{mode: "verify-full", ca: right.path, host: "127.0.0.1", user: "tls", fails: "certificate"},
		{mode: "verify-full", ca: right.path, host: "", user: "tls", fails: "certificate"},
		{mode: "verify-full", ca: wrong.path, host: "localhost", user: "tls", fails: "certificate"},
	} {
		t.Run(strings.Join([]string{c.mode, filepath.Base(c.ca), c.host, c.user}, ","), func(t *testing.T) {
			config := mysql.Config{Host: c.host, Port: server.Port, User: c.user, Password: core.NewSecret("x"), TLS: core.DatabaseTLS{Mode: c.mode, CA: c.ca}}
			_, cipher, err := whoAmI(t.Context(), config)
			if c.fails != "" {
				wantError(t, err, core.CodeDatabase, c.fails)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (cipher != "") != c.cipher {
				t.Errorf("cipher %q, want one: %v", cipher, c.cipher)
			}
		})
	}
	t.Run("authority that is none", func(t *testing.T) {
		_, err := mysql.Connect(t.Context(), mysql.Config{Host: "127.0.0.1", TLS: core.DatabaseTLS{Mode: "verify-ca", CA: key}})
		wantError(t, err, core.CodeConfig, "no PEM certificate")
		_, err = mysql.Connect(t.Context(), mysql.Config{Host: "127.0.0.1", TLS: core.DatabaseTLS{Mode: "verify-ca", CA: dir + "/none"}})
		wantError(t, err, core.CodeConfig, "none")
	})
}

func TestServerWithoutTLS(t *testing.T) {
	args := []string{"--skip-ssl"}
	if !mysqltest.OnMariaDB(t) {
		args = []string{"--tls-version="}
	}
	server := mysqltest.Start(t, localserver.Options{TCP: true, Args: args})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE USER any@'%' IDENTIFIED BY 'x'")
	config := mysql.Config{Host: "127.0.0.1", Port: server.Port, User: "any", Password: core.NewSecret("x")}
	config.TLS.Mode = "preferred"
	if _, cipher, err := whoAmI(t.Context(), config); err != nil || cipher != "" {
		t.Errorf("preferred: cipher %q, error %v", cipher, err)
	}
	config.TLS.Mode = "required"
	_, err := mysql.Connect(t.Context(), config)
	wantError(t, err, core.CodeDatabase, "does not offer TLS")
	config = mysqltest.ConfigOf(server, "")
	config.TLS.Mode = "required"
	if _, _, err := whoAmI(t.Context(), config); err != nil {
		t.Errorf("a socket needs no TLS: %v", err)
	}
}

func TestTooManyConnections(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{TCP: true, Args: []string{"--max-connections=10"}})
	mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE USER one@'%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1")
	config := mysqltest.ConfigOf(server, "")
	config.User, config.Password = "one", core.NewSecret("x")
	mysqltest.Connect(t, config)
	_, err := mysql.Connect(t.Context(), config)
	wantError(t, err, core.CodeDatabase)
	if !strings.Contains(core.HintOf(err), "database.connections: 1") {
		t.Errorf("hint: %s", core.HintOf(err))
	}
}
