package main

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// No secret is in any file, page, log or argument of a process that uses it.
func TestSecretsStaySecret(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(elsewhere, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	seeded := []string{"seed1word", "seed2word", "seed3word", "seed4word", "seed5word", "seed6word", "seed7word", "seed8word", "seed9word", "seed10word"}
	sink := func(table, options string) string {
		return "CREATE TABLE " + table + " (device_id STRING) WITH ('connector' = 'kafka', 'topic' = '" + table + "', 'value.format' = 'avro-confluent', " + options + ");\n" +
			"INSERT INTO " + table + " SELECT device_id FROM readings;\n"
	}
	const at = "'value.avro-confluent.url' = 'http://REGISTRY', "
	text := `SET 'pipeline.name' = 'hush';
CREATE TABLE readings (device_id STRING) WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'value.format' = 'json',
  'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="seed1word";',
  'properties.ssl.key.password' = 'seed2word', 'properties.ssl.truststore.password' = 'seed8word', 'properties.ssl.keystore.key' = '-----BEGIN PRIVATE KEY-----
seed3word
-----END PRIVATE KEY-----');
` + sink("literal", at+"'value.avro-confluent.basic-auth.user-info' = 'u:seed4word'") +
		sink("token", at+"'value.avro-confluent.bearer-auth.token' = 'seed5word'") +
		sink("from_env", at+"'value.avro-confluent.basic-auth.user-info' = 'u:${env:SEED6}'") +
		sink("from_file", at+"'value.avro-confluent.basic-auth.user-info' = '${file:seven}'")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "REGISTRY", registry)
	write("seven", "u:seed7word\n")
	token := write("token", "seed9word")
	config := write("weir.yaml", "registry-user: u\nregistry-password: ${env:SEED10}\n")
	t.Setenv("SEED6", "seed6word")
	t.Setenv("SEED10", "seed10word")
	p := start(t, "up", "--config", config, "--secrets-dir", elsewhere, "--data-dir", dir, "--listen", "127.0.0.1:0", "--registry-listen", registry,
		"--console-listen", "127.0.0.1:0", "--console-token-file", token, "--admin-listen", "127.0.0.1:0", "--devices", "2", "--rate", "50",
		"--pipeline", write("hush.sql", text), "--log-level", "debug")
	address := regexp.MustCompile(`http://(127\.0\.0\.1:\d+)(/metrics)?`)
	pages := make(map[string]string)
	waitFor(t, "the addresses", func() bool {
		for _, found := range address.FindAllStringSubmatch(p.errOut.String(), -1) {
			kind := "console"
			if found[2] != "" {
				kind = "admin"
			}
			if found[1] != registry {
				pages[kind] = "http://" + found[1]
			}
		}
		return len(pages) == 2
	})
	get := func(url string) string {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(url, pages["console"]) {
			r.Header.Set("Authorization", "Bearer seed9word")
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	var view string
	waitFor(t, "the pipeline on the console", func() bool {
		view = get(pages["console"] + "/api/pipeline?name=hush")
		return strings.Contains(view, "******") && strings.Contains(view, `"state":"running"`)
	})
	for _, want := range []string{"u:${env:SEED6}", "${file:seven}"} {
		if !strings.Contains(view, want) {
			t.Errorf("the console does not show the reference %s", want)
		}
	}
	shown := map[string]string{"console": view}
	for _, path := range []string{"/status", "/metrics", "/readyz"} {
		shown[path] = get(pages["admin"] + path)
	}
	for _, path := range []string{"/api/info", "/api/topic?topic=hush.plan", "/api/records?topic=hush.plan&from=start", "/api/schemas", "/api/overview", "/api/pipelines"} {
		shown[path] = get(pages["console"] + path)
	}
	if arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid)); err == nil {
		shown["arguments"] = string(arguments)
	}
	p.signal(os.Interrupt)
	p.wait(30 * time.Second)
	shown["stderr"], shown["stdout"] = p.errOut.String(), p.out.String()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		shown[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, content := range shown {
		for _, secret := range seeded {
			if i := strings.Index(content, secret); i >= 0 {
				t.Errorf("%s is in %s: %q", secret, where, content[max(0, i-100):min(len(content), i+20)])
			}
		}
	}
	if !strings.Contains(shown["/api/records?topic=hush.plan&from=start"], "******") {
		t.Errorf("the plan topic: %s", shown["/api/records?topic=hush.plan&from=start"])
	}
}
