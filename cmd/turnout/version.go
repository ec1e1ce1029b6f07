package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

func version(e *env, args []string) int {
	fs := newFlags(e, "version")
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	fmt.Fprintf(e.stdout, "turnout %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

// buildVersion is the module's version where it was built as a dependency, else
// the commit that the tree was at, marked when files had changed since.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var commit, changed string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			commit = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if commit == "" {
		return "devel"
	}
	return commit + changed
}
