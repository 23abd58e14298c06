// Package mqtttest has what tests of MQTT need: a real mosquitto, and publishers whose messages are
// numbered.
//
//	mosquitto.go  Mosquitto
//	publisher.go  Publisher
package mqtttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/syncbuf"
)

// Mosquitto is a mosquitto at a free port of loopback, which can be killed and started again.
type Mosquitto struct {
	t    testing.TB
	path string
	port int
	conf string
	cmd  *exec.Cmd
	Log  *syncbuf.Buffer
}

// StartMosquitto starts mosquitto with its default configuration, to which lines are added; PORT in
// them is the port, DIR a directory. If they have no listener, it is one for anybody. It fails the
// test if mosquitto is not installed.
func StartMosquitto(t testing.TB, lines ...string) *Mosquitto {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not in the path of every user
		if _, err := os.Stat(path); err != nil {
			t.Fatal("mosquitto is not installed: install the Debian package mosquitto (sudo make deps does it)")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mosquitto{t: t, path: path, port: l.Addr().(*net.TCPAddr).Port, Log: &syncbuf.Buffer{}}
	_ = l.Close()
	dir := t.TempDir()
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "listener") {
		text = "listener PORT 127.0.0.1\nallow_anonymous true\n" + text
	}
	text = strings.NewReplacer("PORT", fmt.Sprint(m.port), "DIR", dir).Replace(text)
	if os.Getuid() == 0 {
		text = "user root\n" + text
	}
	m.conf = filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(m.conf, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(m.Kill)
	return m
}

// Addr returns host and port.
func (m *Mosquitto) Addr() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }

// Start starts the process and waits until it accepts connections.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.cmd = exec.Command(m.path, "-c", m.conf) //nolint:gosec,noctx // the tool under test; Kill ends it
	m.cmd.Stderr = m.Log
	m.cmd.Stdout = m.Log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", m.Addr()) //nolint:noctx // loopback
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("mosquitto does not listen: %s", m.Log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Kill ends the process with SIGKILL.
func (m *Mosquitto) Kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// Signal sends a signal to the process, such as SIGUSR1, at which mosquitto saves its database.
func (m *Mosquitto) Signal(s syscall.Signal) {
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Error(err)
	}
}
