// Command mutate injects faults into the transactional clients, one at a time, and runs their
// scripts, which must fail: make mutate.
//
// A mutated file is passed to go test as an overlay, so the tree is never modified. The command
// fails if no script detects a fault, or if the code to mutate no longer exists.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "regular expression of the faults to seed; default all")
	flag.Parse()
	if err := run(regexp.MustCompile(*only)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(only *regexp.Regexp) (err error) {
	dir, err := os.MkdirTemp("", "weir-mutate")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var failed []error
	for _, m := range mutations {
		if !only.MatchString(m.fault) {
			continue
		}
		began := time.Now()
		found, err := m.seed(dir)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.fault, err))
			found = []string{err.Error()}
		}
		fmt.Printf("%-70s %4.0fs  %s\n", m.fault, time.Since(began).Seconds(), strings.Join(found, ", "))
	}
	return errors.Join(failed...)
}

// seed runs the scripts against a fault, and returns those that detect it.
func (m *mutation) seed(dir string) (found []string, err error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	mutant, err := m.apply(string(source))
	if err != nil {
		return nil, err
	}
	to, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	path, err := filepath.Abs(m.file)
	if err != nil {
		return nil, err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: to}})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(to, []byte(mutant), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "test", "-count", "1", "-failfast", "-vet=off", "-timeout", "10m", "-overlay", overlay, "-run", "^TestScript"+m.scripts, "./"+filepath.Dir(m.file)).CombinedOutput() //nolint:gosec,noctx // from the table below
	if err == nil {
		return nil, errors.New("no script finds it")
	}
	for _, line := range regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindAllStringSubmatch(string(out), -1) {
		found = append(found, line[1])
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the scripts do not run: %w\n%s", err, out)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// apply injects the fault into the text of the file.
func (m *mutation) apply(source string) (string, error) {
	for _, e := range m.edits {
		if n := strings.Count(source, e[0]); n != 1 {
			return "", fmt.Errorf("%s has %q %d times, expected once: write the mutation for the code as it is now", m.file, e[0], n)
		}
		source = strings.Replace(source, e[0], e[1], 1)
	}
	return source, nil
}
