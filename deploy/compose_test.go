package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"weir/deploy/promtest"
)

// compose loads the compose file with some profiles, as docker compose does.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// The small set starts alone, each profile brings what it needs, and every service has a limit, a pinned image and a check.
func TestCompose(t *testing.T) {
	if got, want := compose(t).ServiceNames(), []string{"kafka1", "kafka2", "kafka3", "weir"}; !slices.Equal(got, want) {
		t.Errorf("without a profile %v start, want %v", got, want)
	}
	for profile, wants := range map[string][]string{
		"flink":      {"jobmanager", "taskmanager", "gateway", "registry", "postgres"},
		"monitoring": {"prometheus", "alertmanager", "grafana", "monitor"},
		"registry":   {"registry", "postgres"},
		"sink":       {"postgres"},
	} {
		names := compose(t, profile).ServiceNames()
		for _, w := range wants {
			if !slices.Contains(names, w) {
				t.Errorf("profile %s does not start %s", profile, w)
			}
		}
	}
	all := compose(t, "all")
	if len(all.Services) != 13 {
		t.Errorf("profile all has %v", all.ServiceNames())
	}
	pinned := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?[\w.-]*$`)
	for name, s := range all.Services {
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s is not pinned to a version", name, s.Image)
		}
		if s.MemLimit == 0 || s.CPUS == 0 || s.Restart == "" {
			t.Errorf("%s has no limit of memory or CPU, or is not restarted", name)
		}
		if s.HealthCheck == nil && s.Image != "weir" {
			t.Errorf("%s has no health check", name)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s opens port %s to the network", name, p.Published)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for on, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionHealthy && all.Services[on].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which has no check", name, on)
			}
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join("..", s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The dashboards are checked against the schema of the Grafana that the compose file runs.
func TestDashboardsFitGrafana(t *testing.T) {
	text, err := os.ReadFile("grafana/package.json")
	if err != nil {
		t.Fatal(err)
	}
	image := compose(t, "all").Services["grafana"].Image
	if version := strings.TrimPrefix(image, "grafana/grafana:"); !strings.Contains(string(text), `"@grafana/schema": "`+version+`"`) {
		t.Errorf("compose.yaml runs %s, and grafana/package.json has another @grafana/schema", image)
	}
}

// What Prometheus scrapes are services of the compose file.
func TestComposeIsScraped(t *testing.T) {
	all := compose(t, "all")
	config, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile(`([a-z]+):\d{4}`).FindAllStringSubmatch(string(config), -1) {
		if found++; m[1] != "localhost" && !slices.Contains(all.ServiceNames(), m[1]) {
			t.Errorf("Prometheus scrapes %s, which is no service", m[0])
		}
	}
	if found < 6 {
		t.Errorf("only %d targets", found)
	}
}

// The image is built from a binary; what is in it runs, as nobody, in a folder that it may write.
func TestDockerfile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and an image: make test does")
	}
	buildah := promtest.Tool(t, "buildah")
	context, root := t.TempDir(), t.TempDir()
	for _, dir := range []string{"bin", "deploy"} {
		if err := os.Mkdir(filepath.Join(context, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run([]string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", filepath.Join(context, "bin", "weir"), "../cmd/weir")
	if err := os.CopyFS(filepath.Join(context, "deploy", "data"), os.DirFS("data")); err != nil {
		t.Fatal(err)
	}
	store := []string{"--root", filepath.Join(root, "root"), "--runroot", filepath.Join(root, "run"), "--storage-driver", "vfs"}
	with := func(args ...string) string {
		t.Helper()
		return run(nil, buildah, append(slices.Clone(store), args...)...)
	}
	with("bud", "--isolation", "chroot", "--target", "prebuilt", "--build-arg", "BASE=scratch", "-f", "Dockerfile", "-t", "weir", context)
	if got := with("inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}", "weir"); strings.TrimSpace(got) != "65532:65532 [/usr/local/bin/weir]" {
		t.Errorf("user and entry point are %q", got)
	}
	container := strings.TrimSpace(with("from", "--pull=never", "weir"))
	mount := strings.TrimSpace(with("mount", container))
	t.Cleanup(func() { with("rm", container) })
	if out := run(nil, filepath.Join(mount, "usr/local/bin/weir"), "--version"); !strings.Contains(out, "weir version") {
		t.Errorf("what is in the image says %q", out)
	}
	if out := run(nil, "stat", "-c", "%u", filepath.Join(mount, "data")); strings.TrimSpace(out) != "65532" {
		t.Errorf("/data belongs to %s", out)
	}
}

// The unit is one that systemd takes, where there is a systemd to ask.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("systemd/weir.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DynamicUser=yes", "NoNewPrivileges=yes", "Restart=on-failure", "TimeoutStopSec="} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // what can be told of the text is told above
	}
	out, _ := exec.Command(analyze, "verify", "systemd/weir.service").CombinedOutput() // it fails where the binary is not installed
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "Unknown key") || strings.Contains(line, "Failed to parse") {
			t.Error(line)
		}
	}
}
