package console

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// With SandboxVariable set, the test binary is the process that checks SQL.
func TestMain(m *testing.M) {
	if os.Getenv(SandboxVariable) != "" {
		os.Exit(Sandbox(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}
