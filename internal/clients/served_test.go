package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/stack"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/tlsconf/tlstest"
)

// Environment variables.
const (
	serveEnv = "WEIR_TEST_SERVE"   // "host:port directory": makes the test binary serve a data directory, so that a test can kill it
	tlsEnv   = "WEIR_TEST_TLS"     // directory with the certificate that the served broker has
	autoEnv  = "WEIR_TEST_AUTO"    // any value: the served broker creates topics that clients request
	allEnv   = "WEIR_TEST_CLIENTS" // any value: run everything, as make clients does, not only the sample of make test
)

func TestMain(m *testing.M) {
	if at := os.Getenv(serveEnv); at != "" {
		serve(at)
	}
	os.Exit(m.Run())
}

func serve(at string) {
	addr, dir, _ := strings.Cut(at, " ")
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := embedded.Config{Dir: dir, Addr: addr, AutoCreateTopics: os.Getenv(autoEnv) != "", Logger: log}
	if certs := os.Getenv(tlsEnv); certs != "" {
		var err error
		if cfg.TLS, err = tlsconf.NewServer(filepath.Join(certs, "server.pem"), filepath.Join(certs, "server-key.pem"), "", log); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	if _, err := embedded.Open(cfg); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent exits
	os.Exit(0)
}

// cluster is a broker that a test can kill: the embedded one, or real Kafka as a control.
type cluster interface {
	Address() string // host:port, the same after a restart
	KillBroker() error
	StartBroker(ctx context.Context) error
}

// served is the embedded broker in its own process.
type served struct {
	t    *testing.T
	dir  string
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser

	certs    string // directory of its certificate; "": no TLS
	password string // of the user client, an admin; "": no logins
}

// serveEmbedded starts an embedded broker, which the end of the test stops.
func serveEmbedded(t *testing.T) *served {
	t.Helper()
	return serveWith(t, &served{t: t, dir: t.TempDir()})
}

// serveSecured starts one that serves TLS and requires a login.
func serveSecured(t *testing.T) *served {
	t.Helper()
	s := &served{t: t, dir: t.TempDir(), certs: t.TempDir(), password: guard.NewPassword()}
	tlstest.Server(t, s.certs, false)
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	users, err := guard.OpenUsers(data)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := guard.BothKeys(s.password)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Change(func(all map[string]guard.User) error {
		all[clientName] = guard.User{Name: clientName, Role: guard.Admin, SCRAM: keys}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	serveWith(t, s)
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range guard.Admin.ACLs("") {
		c := kmsg.NewCreateACLsRequestCreation()
		c.Principal, c.Host, c.PermissionType = "User:"+clientName, "*", kmsg.ACLPermissionTypeAllow
		c.ResourceType, c.ResourcePatternType, c.ResourceName, c.Operation = a.Type, a.Pattern, a.Name, a.Operation
		req.Creations = append(req.Creations, c)
	}
	if _, err := req.RequestWith(t.Context(), connect(t, s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// clientName is the user as which clients log in.
const clientName = "client"

// environment is what tells programs how to connect.
func (s *served) environment() []string {
	if s.password == "" {
		return nil
	}
	return []string{"CLIENT_CA=" + filepath.Join(s.certs, "ca.pem"), "CLIENT_USER=" + clientName, "CLIENT_PASSWORD=" + s.password}
}

func serveWith(t *testing.T, s *served) *served {
	t.Helper()
	ports, err := stack.FreePorts(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = "127.0.0.1:" + strconv.Itoa(ports[0])
	if err := s.StartBroker(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			_ = s.KillBroker() // it may have exited
		}
		if log, err := os.ReadFile(s.log()); err == nil && t.Failed() {
			t.Logf("the broker's log:\n%s", lastLines(string(log), 30))
		}
	})
	return s
}

func (s *served) log() string { return filepath.Join(s.dir, "broker.log") }

func (s *served) Address() string { return s.addr }

func (s *served) StartBroker(context.Context) error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()                               // the child has its own descriptor
	cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec,noctx // this test's own binary, killed below
	cmd.Env = append(os.Environ(), serveEnv+"="+s.addr+" "+filepath.Join(s.dir, "data"), tlsEnv+"="+s.certs)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if s.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start the embedded broker: it printed %q, %w", line, err)
	}
	s.cmd = cmd
	return nil
}

func (s *served) KillBroker() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // "signal: killed"
	s.cmd = nil
	return err
}

// kafka is a real broker.
type kafka struct{ *stack.Kafka }

func (k kafka) Address() string                       { return k.Brokers()[0] }
func (k kafka) KillBroker() error                     { return k.Kill(0) }
func (k kafka) StartBroker(ctx context.Context) error { return k.Start(ctx, 0) }

// realKafka starts a real broker with a small heap.
func realKafka(t *testing.T) kafka {
	t.Helper()
	k, err := stack.StartKafka(t.Context(), stack.Options{Heap: "384m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return kafka{k}
}

// adminOf returns an admin client of a cluster.
func adminOf(t *testing.T, c cluster) *kadm.Client {
	t.Helper()
	return kadm.NewClient(connect(t, c))
}

// connect returns a client of a cluster that may do everything.
func connect(t *testing.T, c cluster) *kgo.Client {
	t.Helper()
	at := broker.Config{Brokers: []string{c.Address()}}
	if s, ok := c.(*served); ok && s.password != "" {
		at.DataDir = filepath.Join(s.dir, "data")
	}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// createTopics creates topics with the same number of partitions.
func createTopics(t *testing.T, c cluster, partitions int32, topics ...string) {
	t.Helper()
	created, err := adminOf(t, c).CreateTopics(t.Context(), partitions, 1, nil, topics...)
	if err := errors.Join(err, created.Error()); err != nil {
		t.Fatal(err)
	}
}

// needsAll skips a test that is not in the sample of make test.
func needsAll(t *testing.T) {
	t.Helper()
	if os.Getenv(allEnv) == "" && !longtest.Enabled() {
		t.Skip("make clients runs it")
	}
}

// needsTools skips a test in short mode, and fails it if a program is missing.
func needsTools(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts programs of other languages: make test and make clients run it")
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s: sudo make deps installs it", name)
		}
	}
}

// run runs a command and returns its standard output. It kills the command's children as well once
// the test has ended.
func run(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started the child exits
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, lastLines(errOut.String(), 25))
	}
	return out.String(), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
