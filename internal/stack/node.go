package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// NodeTool returns a command that runs a Node.js program that may require npm packages, each with
// its version, such as kafkajs@2.2.4.
func NodeTool(ctx context.Context, packages []string, script string, args ...string) (*exec.Cmd, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("no node: install Node.js (Debian: apt-get install nodejs npm)")
	}
	k := kit{name: strings.Join(packages, ", "), folder: "node-" + folderOf(packages), from: "npm", fetch: fetchNode(packages)}
	dir, err := k.jars(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, node, append([]string{"--max-old-space-size=512", script}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	return cmd, nil
}

func fetchNode(packages []string) func(ctx context.Context, dir string) error {
	return func(ctx context.Context, dir string) error {
		npm, err := exec.LookPath("npm")
		if err != nil {
			return errors.New("no npm: install Node's package manager (Debian: apt-get install npm)")
		}
		args := append([]string{"install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir}, packages...)
		if out, err := exec.CommandContext(ctx, npm, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("npm install %s: %w: %s", strings.Join(packages, " "), err, lastLines(out))
		}
		return nil
	}
}

// folderOf returns the name of a folder for packages with versions.
func folderOf(packages []string) string {
	return strings.NewReplacer("/", "-", "@", "-", "=", "-", "[", "-", "]", "-", ",", "-").Replace(strings.Join(packages, "-"))
}
