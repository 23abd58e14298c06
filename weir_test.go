package weir_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.example/weir"
)

// A program in another module builds against the package, runs a pipeline to its end on an embedded
// broker, and handles both typed errors. docs/guides/embed.md shows the same program.
func TestOtherModule(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/embed/main.go")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	module := goCommand(t, root, "list", "-m")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": string(program),
		"go.sum":  string(sums),
		"go.mod":  "module embedder.example/service\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "service")
	goCommand(t, dir, "build", "-ldflags=-s -w", "-o", binary, ".")
	out, err := exec.CommandContext(t.Context(), binary, filepath.Join(dir, "data")).CombinedOutput()
	const want = `line 7, column 41: column amonut not found (did you mean amount?)
3 records processed
totals, refused:
  lost: Aggregate by customer: SUM(amount); keys customer STRING; SUM of INT (stage2)
        no relation keeps the same state
  new:  Aggregate by customer: MAX(amount); keys customer STRING; MAX of INT
`
	if err != nil || string(out) != want {
		t.Errorf("error %v, output:\n%swant:\n%s", err, out, want)
	}
	guide, err := os.ReadFile("docs/guides/embed.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, shown, _ := strings.Cut(string(program), "package main\n"); !strings.Contains(string(guide), shown) {
		t.Error("docs/guides/embed.md does not contain testdata/embed/main.go")
	}
}

// goCommand runs the go command without network access and returns its output.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -trimpath", "GOPROXY=off", "GOWORK=off")
	if args[0] == "list" {
		cmd.Env = append(cmd.Env, "GOFLAGS=")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

const copyOrders = `CREATE TABLE orders (customer STRING) WITH ('connector' = 'kafka', 'topic' = 'orders', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE customers (customer STRING) WITH ('connector' = 'kafka', 'topic' = 'customers', 'value.format' = 'json');
INSERT INTO customers SELECT customer FROM orders;`

// A pipeline without a name is named after the first table it writes.
func TestDefaultName(t *testing.T) {
	p, err := weir.Compile(copyOrders)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != "customers" {
		t.Errorf("name %q", p.Name())
	}
	if !strings.HasPrefix(p.Explain(), "pipeline customers\n") {
		t.Errorf("the plan has another name:\n%s", p.Explain())
	}
}

// Each error has the class that calls for the right reaction.
func TestClasses(t *testing.T) {
	p, err := weir.Compile(copyOrders)
	if err != nil {
		t.Fatal(err)
	}
	run := func(o weir.Options) error {
		t.Helper()
		_, err := p.Run(t.Context(), o)
		if err == nil {
			t.Fatal("no error")
		}
		return err
	}
	_, noInsert := weir.Compile("CREATE TABLE t (x INT) WITH ('connector' = 'kafka', 'topic' = 't', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');")
	_, badName := weir.Compile(copyOrders, weir.WithName("no spaces"))
	_, badSyntax := weir.Compile("SELEC")
	_, noTests := weir.Test(t.TempDir())
	_, noDir := weir.OpenBroker(weir.BrokerOptions{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		err  error
		want weir.Class
	}{
		"no error":          {nil, ""},
		"no INSERT":         {noInsert, weir.Refused},
		"invalid name":      {badName, weir.Refused},
		"syntax":            {badSyntax, weir.Refused},
		"no tests":          {noTests, weir.Refused},
		"no directory":      {noDir, weir.Refused},
		"no broker set":     {run(weir.Options{}), weir.Refused},
		"invalid broker":    {run(weir.Options{Brokers: []string{"kafka"}}), weir.Refused},
		"negative duration": {run(weir.Options{DataDir: dir, StopTimeout: -1}), weir.Refused},
		"invalid SASL":      {run(weir.Options{Brokers: []string{nobody}, SASL: weir.SASL{Mechanism: "GUESS"}}), weir.Refused},
		"no TLS file":       {run(weir.Options{Brokers: []string{nobody}, TLS: weir.TLS{CAFile: filepath.Join(dir, "ca.pem")}}), weir.Refused},
		"compression":       {run(weir.Options{DataDir: dir, Compression: "rar"}), weir.Refused},
		"too many workers":  {run(weir.Options{DataDir: dir, Workers: 257}), weir.Refused},
		"both":              {run(weir.Options{DataDir: dir, Brokers: []string{nobody}}), weir.Refused},
		"long transactions": {run(weir.Options{DataDir: dir, CommitInterval: time.Minute}), weir.Refused},
		"SASL embedded":     {run(weir.Options{DataDir: dir, SASL: weir.SASL{User: "u"}}), weir.Refused},
		"unreachable":       {run(weir.Options{Brokers: []string{nobody}}), weir.Retryable},
		"no source topic":   {run(weir.Options{DataDir: dir}), weir.Retryable},
		"other":             {errors.New("other"), weir.Retryable},
	} {
		if got := weir.Classify(c.err); got != c.want {
			t.Errorf("%s: class %q, want %q, of: %v", name, got, c.want, c.err)
		}
	}
}

// A process that takes over an instance name fences its previous owner.
func TestFenced(t *testing.T) {
	dir, broker, closeAll := openWithOrders()
	defer closeAll()
	options := weir.Options{DataDir: dir, Instance: "same"}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	start := func() (*weir.Pipeline, chan error) {
		p, err := weir.Compile(totals)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		running.Go(func() {
			_, err := p.Run(ctx, options)
			ended <- err
		})
		for ticker := time.Tick(10 * time.Millisecond); !p.Status().Ready(); <-ticker {
			select {
			case err := <-ended:
				t.Fatal("ended early: ", err)
			default:
			}
		}
		return p, ended
	}
	old, oldEnded := start()
	if _, err := old.Run(ctx, options); weir.Classify(err) != weir.Refused {
		t.Errorf("a second run of a running pipeline: %v", err)
	}
	_, newEnded := start()
	order(ctx, broker, `{"customer":"eve","amount":1}`)
	select {
	case err := <-oldEnded:
		if weir.Classify(err) != weir.Fenced {
			t.Errorf("class %q of: %v", weir.Classify(err), err)
		}
	case err := <-newEnded:
		t.Errorf("the newer one ended: %v", err)
	case <-time.After(time.Minute):
		t.Error("neither ended")
	}
}

// Options can be logged: no format prints the password.
func TestPasswordIsNotLogged(t *testing.T) {
	o := weir.Options{SASL: weir.SASL{Mechanism: "PLAIN", User: "ada", Password: "hunter2"}}
	asJSON, err := json.Marshal(o.SASL)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(o), fmt.Sprintf("%+v", o), fmt.Sprintf("%#v", o), fmt.Sprintf("%+v", &o), string(asJSON)} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "ada") {
			t.Error(text)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
