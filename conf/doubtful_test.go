package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every file of testdata/doubtful loads, and has its warnings in a golden file
// beside it.
func TestDoubtfulConfigurations(t *testing.T) {
	t.Chdir("testdata/doubtful")
	files, err := filepath.Glob("*.toml")
	if err != nil || len(files) < 3 {
		t.Fatalf("only %d doubtful configurations, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			c, err := Load(file, Options{Purpose: ForExplain})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, w := range c.Warnings {
				got.WriteString(w.Error() + "\n")
			}
			compare(t, file+".golden", got.String())
		})
	}
}

// compare compares text with a golden file, or writes it.
func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
}
