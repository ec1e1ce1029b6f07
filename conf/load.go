package conf

import (
	"io/fs"
	"path/filepath"
	"strings"

	"turnout/classifier"
)

// Purpose says what a configuration is loaded for; it decides how strict Load
// is about key files.
type Purpose uint8

const (
	// ForCheck warns about key files that others can read.
	ForCheck Purpose = iota
	// ForExplain needs no key: files may be missing or out of reach.
	ForExplain
	// ForUp refuses key files that others can read and runs private_key_command.
	ForUp
)

// Options of Load.
type Options struct {
	LAN     []string // interfaces from the command line; they replace the file's
	Purpose Purpose
}

// Load reads path and what it names. The error, when there is one, is of type
// Problems and holds every error of every file. A name that ends in ".conf" is
// a wg-quick file, one that ends in ".toml" a turnout.toml; of any other name
// the first line that says something decides.
func Load(path string, o Options) (*Config, error) {
	l := &loader{Options: o, read: readFile, run: runCommand}
	return l.load(path)
}

// loader holds what the steps of one Load share.
type loader struct {
	Options
	report
	read func(path string, limit int64) ([]byte, fs.FileMode, error)
	run  func(dir string, argv []string) (string, error)
	main string
}

func (l *loader) load(path string) (*Config, error) {
	l.main = path
	d := &draft{cfg: &Config{File: path, Host: defaultHost(), Limits: defaultLimits()}}
	if data, mode, ok := l.open(classifier.Pos{File: path}, path); ok {
		if isWGQuick(path, data) {
			d.add(l.quickFile(path, data, mode, tunnelOptions{}))
		} else {
			l.toml(d, path, data, mode)
		}
	}
	for _, name := range l.LAN {
		l.interfaceName(setting{key: "--lan", text: name, pos: classifier.Pos{File: path}})
	}
	if len(l.LAN) > 0 {
		d.cfg.LAN.Interfaces = l.LAN
	}
	l.finish(d)
	if errs := l.errors(path); len(errs) > 0 {
		return nil, errs
	}
	d.cfg.Warnings = l.sorted(l.warns)
	return d.cfg, nil
}

// open reads a configuration file; pos is where it is named.
func (l *loader) open(pos classifier.Pos, path string) ([]byte, fs.FileMode, bool) {
	l.opened(path)
	data, mode, err := l.read(path, maxConfig)
	if err != nil {
		if pos.File == path {
			l.failf(pos, "cannot be read: %v", err)
		} else {
			l.failf(pos, "%s cannot be read: %v", path, err)
		}
	}
	return data, mode, err == nil
}

// isWGQuick tells the two kinds of file apart.
func isWGQuick(path string, data []byte) bool {
	switch filepath.Ext(path) {
	case ".conf":
		return true
	case ".toml":
		return false
	}
	for text := range strings.Lines(string(data)) {
		text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		text, _, _ = strings.Cut(text, "#")
		text = strings.TrimSpace(text)
		return strings.EqualFold(text, "[Interface]") || strings.EqualFold(text, "[Peer]")
	}
	return false
}
