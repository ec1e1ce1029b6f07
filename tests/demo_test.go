package tests

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The newcomer's first command shows a whole network at work, quickly.
func TestDemo(t *testing.T) {
	need(t)
	begun := time.Now()
	out, err := exec.Command(turnout(t), "demo").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nPASS: ") || strings.Contains(string(out), "WRONG") {
		t.Errorf("turnout demo: %v\n%s", err, out)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the demo takes %v, want 20 s at most", took)
	}
}
