package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadme checks the configuration that README shows, and that the commands
// it shows exist.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	inConf(t)
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) == 0 {
		t.Fatal("README shows no configuration")
	}
	for i, m := range blocks {
		if err := os.WriteFile("readme.toml", []byte(m[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, out, _ := call("", "check", "readme.toml"); status != 0 {
			t.Errorf("README's configuration %d is not valid:\n%s", i+1, out)
		}
		if i > 0 {
			continue // no policy to ask about
		}
		for args, want := range map[string]string{
			"--to 10.1.2.3 --proto tcp --port 22":                      "tunnel office",
			"--to 9.9.9.9 --proto tcp --port 443":                      "tunnel sweden",
			"--to 9.9.9.9 --proto tcp --port 443 --from 192.168.77.20": "direct",
			"--to 9.9.9.9 --proto udp --port 53":                       "direct",
		} {
			_, out, stderr := call("", append([]string{"explain", "readme.toml"}, strings.Fields(args)...)...)
			if !strings.Contains(out, "-> "+want+"\n") {
				t.Errorf("explain %s: %s%s; want %s", args, out, stderr, want)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^    (?:sudo )?turnout (\S+)`).FindAllStringSubmatch(string(b), -1) {
		if status, _, _ := call("", "help", m[1]); status != 0 {
			t.Errorf("README shows the verb %q", m[1])
		}
	}
}
