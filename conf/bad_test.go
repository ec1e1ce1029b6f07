package conf

import (
	"errors"
	"flag"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every file of testdata/bad has its errors, as the operator sees them, in a
// golden file beside it.
func TestBadConfigurations(t *testing.T) {
	t.Chdir("testdata/bad")
	var files []string
	for _, pattern := range []string{"*.toml", "*.conf"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	if len(files) < 50 {
		t.Fatalf("only %d bad configurations", len(files))
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			_, err := Load(file, Options{Purpose: ForExplain})
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("Load returned %v, not Problems", err)
			}
			got := err.Error() + "\n"
			compare(t, file+".golden", got)
			for text := range strings.Lines(got) {
				where, what, ok := strings.Cut(text, ": ")
				if !ok || what == "" || where == "" {
					t.Errorf("this is no file:line: what: %s", text)
				}
			}
		})
	}
}
