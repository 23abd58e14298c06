package deploy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"

	"weir.example/weir/internal/promtest"
	"weir.example/weir/internal/syncbuf"
)

// compose loads the compose file with the given profiles, as docker compose does.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithProfiles(profiles), cli.WithEnv([]string{"WEIR_CONSOLE_TOKEN=a", "POSTGRES_PASSWORD=b"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// No service has a password that others know: without those that make compose-env generates,
// nothing starts.
func TestComposeHasNoPasswords(t *testing.T) {
	for _, missing := range []string{"WEIR_CONSOLE_TOKEN", "POSTGRES_PASSWORD"} {
		env := slices.DeleteFunc([]string{"WEIR_CONSOLE_TOKEN=a", "POSTGRES_PASSWORD=b"}, func(v string) bool { return strings.HasPrefix(v, missing) })
		options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithProfiles([]string{"all"}), cli.WithEnv(env))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := options.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), "make compose-env") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	for name, s := range compose(t, "all").Services {
		for variable, value := range s.Environment {
			if secret := regexp.MustCompile(`PASSWORD|TOKEN|SECRET`).MatchString(variable); secret && value != nil && *value != "a" && *value != "b" {
				t.Errorf("%s has %s in the file", name, variable)
			}
		}
	}
	file := filepath.Join(t.TempDir(), ".env")
	make := exec.CommandContext(t.Context(), "make", "-C", "..", "-f", "Makefile", "compose-env", "COMPOSE_ENV="+file)
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^WEIR_CONSOLE_TOKEN=[\w-]{32}\nPOSTGRES_PASSWORD=[\w-]{32}\n$`).Match(text) {
		t.Errorf("make compose-env writes %q", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

// The default services start without the others, each profile includes its dependencies, and every
// service has resource limits, a pinned image and a health check.
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

// The schema that the dashboards are checked against is that of the compose file's Grafana.
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

// Each target of Prometheus is a service of the compose file, at a port that its settings open;
// conversely, each of our services with metrics is scraped. Alerts go to the Alertmanager, and the
// rules are mounted where the configuration expects them.
func TestComposeIsScraped(t *testing.T) {
	all := compose(t, "all")
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
		Alerting  struct {
			Alertmanagers []scraped
		}
		ScrapeConfigs []scraped `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus/prometheus.yml", &config)
	seen := make(map[string]bool)
	for _, job := range slices.Concat(config.ScrapeConfigs, config.Alerting.Alertmanagers) {
		for _, target := range slices.Concat(job.targets()...) {
			name, port, _ := strings.Cut(target, ":")
			seen[name] = true
			if name == "localhost" {
				continue
			}
			service, ok := all.Services[name]
			if !ok {
				t.Errorf("Prometheus asks %s, which is no service", target)
			} else if !opens(service, port) {
				t.Errorf("nothing says that %s has port %s", name, port)
			}
		}
	}
	for name, s := range all.Services {
		if metrics := strings.Contains(strings.Join(s.Command, " "), "--admin-listen"); metrics && !seen[name] {
			t.Errorf("Prometheus does not scrape %s", name)
		}
	}
	if !seen["jobmanager"] || !seen["taskmanager"] || !seen["registry"] || !seen["alertmanager"] {
		t.Errorf("Prometheus asks only %v", seen)
	}
	where := mounts(all.Services["prometheus"])
	if where["/etc/prometheus/prometheus.yml"] != "prometheus/prometheus.yml" || where["/etc/prometheus/rules"] != "prometheus/rules" || !slices.Equal(config.RuleFiles, []string{"rules/*.yml"}) {
		t.Errorf("Prometheus finds its rules %v not at %v", config.RuleFiles, where)
	}
	if where := mounts(all.Services["alertmanager"]); where["/etc/alertmanager/alertmanager.yml"] != "alertmanager/alertmanager.yml" {
		t.Errorf("Alertmanager's files are %v", where)
	}
}

// opens reports whether a service's settings mention a port: its command, health check or Flink
// properties.
func opens(s types.ServiceConfig, port string) bool {
	said := slices.Clone([]string(s.Command))
	if s.HealthCheck != nil {
		said = append(said, s.HealthCheck.Test...)
	}
	if p := s.Environment["FLINK_PROPERTIES"]; p != nil {
		said = append(said, *p)
	}
	return strings.Contains(strings.Join(said, " "), port)
}

// scraped is a group of targets in Prometheus's configuration.
type scraped struct {
	StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
}

func (s scraped) targets() (all [][]string) {
	for _, c := range s.StaticConfigs {
		all = append(all, c.Targets)
	}
	return all
}

// Grafana finds its provisioning: the dashboards' data source is the compose file's Prometheus, and
// the dashboards are in the folder that their provider reads.
func TestComposeProvisionsGrafana(t *testing.T) {
	all := compose(t, "all")
	where := mounts(all.Services["grafana"])
	if where["/etc/grafana/provisioning"] != "grafana/provisioning" { // Grafana's default
		t.Errorf("the provisioning is not where Grafana looks: %v", where)
	}
	var sources struct {
		Datasources []struct {
			Type, URL, Access, UID string
			IsDefault              bool `yaml:"isDefault"`
		}
	}
	readYAML(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	if len(sources.Datasources) != 1 {
		t.Fatalf("data sources %+v", sources)
	}
	source := sources.Datasources[0]
	if source.Type != "prometheus" || !source.IsDefault || source.Access != "proxy" || source.UID == "" {
		t.Errorf("the dashboards ask the default Prometheus through Grafana, which is not %+v", source)
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(source.URL, "http://"), ":")
	if s, ok := all.Services[host]; !ok || !slices.ContainsFunc(s.Ports, func(p types.ServicePortConfig) bool { return fmt.Sprint(p.Target) == port }) {
		t.Errorf("there is no Prometheus at %s", source.URL)
	}
	var providers struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/weir.yml", &providers)
	for _, p := range providers.Providers {
		if p.Type != "file" || where[p.Options.Path] != "grafana/dashboards" {
			t.Errorf("%s has no dashboards: %v", p.Options.Path, where)
		}
	}
	if len(providers.Providers) == 0 {
		t.Error("nothing provides dashboards")
	}
}

// mounts returns the files of this folder that are mounted into a service, by their path in it.
func mounts(s types.ServiceConfig) map[string]string {
	here, _ := filepath.Abs(".")
	where := make(map[string]string)
	for _, v := range s.Volumes {
		if file, err := filepath.Rel(here, v.Source); v.Type == types.VolumeTypeBind && err == nil {
			where[v.Target] = file
		}
	}
	return where
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// The image can be built from a prebuilt binary, which runs as an unprivileged user that owns
// /data.
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
	command := strings.Fields(with("inspect", "--type", "image", "--format", "{{range .OCIv1.Config.Cmd}}{{.}} {{end}}", "weir"))
	container := strings.TrimSpace(with("from", "--pull=never", "weir"))
	mount := strings.TrimSpace(with("mount", container))
	t.Cleanup(func() { with("rm", container) })
	if out := run(nil, filepath.Join(mount, "usr/local/bin/weir"), "--version"); !strings.Contains(out, "weir version") {
		t.Errorf("the image's binary prints %q", out)
	}
	if out := run(nil, "stat", "-c", "%u", filepath.Join(mount, "data")); strings.TrimSpace(out) != "65532" {
		t.Errorf("/data belongs to %s", out)
	}
	startImage(t, filepath.Join(mount, "usr/local/bin/weir"), command)
}

// startImage runs the image's default command on free ports and another directory: it serves other
// machines without settings, and asks for the password that it has shown.
func startImage(t *testing.T, binary string, command []string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	ports := map[string]string{"9092": freePort(t), "8080": freePort(t), "9600": freePort(t)}
	for i, arg := range command {
		if command[i] = strings.Replace(arg, "/data", data, 1); !strings.Contains(arg, ":") {
			continue
		}
		host, port, err := net.SplitHostPort(arg)
		if err != nil || ports[port] == "" {
			t.Fatalf("the default command is %v", command)
		}
		command[i] = net.JoinHostPort(host, ports[port])
	}
	cmd := exec.CommandContext(t.Context(), binary, append(command, "--no-fleet", "--registry-listen", "127.0.0.1:0")...)
	out := new(syncbuf.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	shown := regexp.MustCompile(`user admin, password (\S+)`)
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(out.String(), "/metrics"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v does not start: %s", command, out.String())
		}
	}
	found := shown.FindStringSubmatch(out.String())
	authority, err := os.ReadFile(filepath.Join(data, "tls", "ca.pem"))
	if found == nil || err != nil {
		t.Fatalf("no password or no authority: %v, %s", err, out.String())
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}
	for path, port := range map[string]string{"/api/overview": ports["8080"], "/status": ports["9600"]} {
		for password, want := range map[string]int{"guess": http.StatusUnauthorized, found[1]: http.StatusOK} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("admin", password)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s answers %d, want %d", path, resp.StatusCode, want)
			}
		}
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+ports["9092"], &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool})
	if err != nil {
		t.Fatalf("the broker's certificate: %v", err)
	}
	_ = conn.Close()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// The unit has the expected settings, and systemd accepts it, if installed.
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
		return // only the text can be checked
	}
	out, _ := exec.Command(analyze, "verify", "systemd/weir.service").CombinedOutput() // fails if the binary is not installed
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "Unknown key") || strings.Contains(line, "Failed to parse") {
			t.Error(line)
		}
	}
}
