// Command gen writes the tables of package front from Kafka's message definitions: the wire form of
// each request that the broker serves, and for tests that of each response. Run it from the
// repository's root after an upgrade of kfake or of Kafka:
//
//	go run ./internal/broker/front/gen
package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"go/format"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"weir.example/weir/internal/stack"
)

func main() {
	if err := run(context.Background(), filepath.Join("internal", "broker", "front")); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	libs, err := stack.KafkaJars(ctx)
	if err != nil {
		return err
	}
	jar := filepath.Join(libs, "kafka-clients-"+stack.KafkaVersion+".jar")
	messages, err := readMessages(jar)
	if err != nil {
		return fmt.Errorf("read messages from %s: %w", jar, err)
	}
	served, err := servedVersions(ctx)
	if err != nil {
		return fmt.Errorf("ask kfake for its API versions: %w", err)
	}
	requests, err := table(messages, "request", served)
	if err != nil {
		return err
	}
	responses, err := table(messages, "response", served)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "requests.go"), "requestForms", "requests", requests); err != nil {
		return err
	}
	return write(filepath.Join(dir, "responses_test.go"), "responseForms", "responses", responses)
}

// readMessages returns the message definitions of Kafka's client library.
func readMessages(jar string) ([]message, error) {
	files, err := zip.OpenReader(jar)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	var all []message
	for _, f := range files.File {
		if path.Dir(f.Name) != "common/message" || path.Ext(f.Name) != ".json" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(r)
		if err == nil {
			err = r.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
		m, err := parseMessage(text)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", f.Name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// write writes a table as Go source.
func write(file, name, what string, forms []form) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated from the message definitions of Kafka %s by internal/broker/front/gen; DO NOT EDIT.\n\n", stack.KafkaVersion)
	fmt.Fprintf(&b, "package front\n\n")
	fmt.Fprintf(&b, "// %s has the wire forms of %s; see form.\n", name, what)
	fmt.Fprintf(&b, "var %s = []form{\n", name)
	for _, f := range forms {
		fmt.Fprintf(&b, "{%d, %q, %d, %d, %t, %q},\n", f.key, strings.TrimSuffix(strings.TrimSuffix(f.name, "Request"), "Response"), f.from, f.to, f.flexible, f.program)
	}
	b.WriteString("}\n")
	text, err := format.Source(b.Bytes())
	if err != nil {
		return fmt.Errorf("format %s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644) //nolint:gosec // source code
}
