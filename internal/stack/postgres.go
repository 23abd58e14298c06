package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir.example/weir/internal/retry"
)

// Postgres is a PostgreSQL server on loopback, from the Debian package. It never runs as root.
type Postgres struct {
	process
	Port    int
	bin     string
	starter *starter
	user    *syscall.Credential // nil: that of this process
}

// PostgresUser and PostgresPassword log in to every Postgres.
const (
	PostgresUser     = "weir"
	PostgresPassword = "not-a-secret"
)

// nobody is the user of a server whose test runs as root, which PostgreSQL refuses.
const nobody = 65534

// postgresSettings need little memory. Without fsync, a kill of the server loses nothing, only a
// crash of the machine would.
const postgresSettings = `
listen_addresses = '127.0.0.1'
shared_buffers = 32MB
max_connections = 60
fsync = off
logging_collector = off
`

// NewPostgres starts a server for a test, which ends with the test.
func NewPostgres(tb TB) *Postgres {
	tb.Helper()
	p, err := StartPostgres(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// StartPostgres starts a server with an empty database cluster.
func StartPostgres(ctx context.Context) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "weir-postgres-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{process: process{name: "postgres", dir: dir}, bin: bin, starter: newStarter()}
	if err := p.init(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.Start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// postgresBin returns the folder of the newest installed server's programs, which Debian keeps out
// of PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server: install it (Debian: apt-get install postgresql)")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0]), nil
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// init creates the database cluster.
func (p *Postgres) init(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.Port = listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
	if err := listener.Close(); err != nil {
		return err
	}
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(PostgresPassword+"\n"), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		p.user = &syscall.Credential{Uid: nobody, Gid: nobody}
		for _, path := range []string{p.dir, password} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return err
			}
		}
	}
	cmd := p.command(exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", p.data(), "-U", PostgresUser, "--pwfile", password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out))
	}
	f, err := os.OpenFile(filepath.Join(p.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%sport = %d\nunix_socket_directories = '%s'\n", postgresSettings, p.Port, p.dir)
	return errors.Join(err, f.Close())
}

func (p *Postgres) command(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir, cmd.Env = p.dir, []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	return cmd
}

// Start starts the server after a kill or a stop, and waits until it answers.
func (p *Postgres) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if !p.alive() { // it exits while processes of a killed one still use its memory
			if err := p.start(p.starter, p.command(exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.data())), false); err != nil {
				return err
			}
		}
		cmd := p.command(exec.CommandContext(ctx, filepath.Join(p.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port)))
		if cmd.Run() == nil {
			return nil
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("start PostgreSQL: %w: %s", err, p.lastWords())
		}
	}
}

// Kill kills the server with SIGKILL. Its other processes notice and exit.
func (p *Postgres) Kill() error { return p.kill() }

// Pause stops all processes of the server with SIGSTOP, so that it does not answer.
func (p *Postgres) Pause() error { return p.signalAll(syscall.SIGSTOP) }

// Resume continues after Pause.
func (p *Postgres) Resume() error { return p.signalAll(syscall.SIGCONT) }

func (p *Postgres) signalAll(s syscall.Signal) error {
	if err := p.signal(s); err != nil {
		return err
	}
	for _, pid := range p.children() {
		_ = syscall.Kill(pid, s) // it may have exited
	}
	return nil
}

// children returns the processes that the server started. They have process groups of their own.
func (p *Postgres) children() (all []int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path) //nolint:gosec // of the kernel
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		const parent = 1
		if len(fields) > parent && fields[parent] == strconv.Itoa(p.pid) {
			if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// PID returns the process id of the server, whose other processes are its children.
func (p *Postgres) PID() int { return p.pid }

// Alive reports whether the server runs.
func (p *Postgres) Alive() bool { return p.alive() }

// URL returns the JDBC URL of a database, without user and password.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("jdbc:postgresql://127.0.0.1:%d/%s", p.Port, database)
}

// DSN returns how clients of libpq connect to a database.
func (p *Postgres) DSN(database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", PostgresUser, PostgresPassword, p.Port, database)
}

// Log returns the end of the server's log.
func (p *Postgres) Log() string { return p.lastWords() }

// Close kills the server and removes its data.
func (p *Postgres) Close() error {
	if p.alive() {
		_ = p.signalAll(syscall.SIGCONT)
		_ = p.kill() // it may have exited
	}
	p.starter.close()
	return os.RemoveAll(p.dir)
}
