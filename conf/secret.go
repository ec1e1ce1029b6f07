package conf

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"turnout/classifier"
)

// privateKey finds a tunnel's private key: in the section itself, in a file,
// or printed by a command. A key that is out of reach is zero with ForExplain,
// and one that only a command knows is zero unless ForUp.
func (l *loader) privateKey(iface section, pos classifier.Pos) PrivateKey {
	inline, file, command := iface.one("PrivateKey"), iface.one(privateKeyFile), iface.values[privateKeyCommand]
	count := 0
	for _, given := range []bool{inline.given(), file.given(), len(command) > 0} {
		if given {
			count++
		}
	}
	switch {
	case count == 0:
		l.failf(pos, "the tunnel has no private key; one of PrivateKey, private_key_file and private_key_command is wanted")
	case count > 1:
		l.failf(pos, "the tunnel has more than one private key; one of private_key, private_key_file and private_key_command is wanted")
	case inline.given():
		return l.key(inline)
	case file.given():
		return l.keyFile(file)
	case l.Purpose == ForUp:
		return l.keyCommand(command)
	}
	return PrivateKey{}
}

// key reads a key that stands in the configuration itself.
func (l *loader) key(s setting) PrivateKey {
	k, err := ParsePrivateKey(s.text)
	if err != nil {
		l.failf(s.pos, "%s is no key; %v", s.key, err)
	}
	return k
}

// keyFile reads a key from the file that s names.
func (l *loader) keyFile(s setting) PrivateKey {
	if wholeKey.MatchString(s.text) {
		l.failf(s.pos, "%s holds a key; the name of a file is wanted", s.key)
		return PrivateKey{}
	}
	path := besides(s.pos.File, s.text)
	data, mode, err := l.read(path, maxKeyFile)
	switch {
	case err != nil && l.Purpose == ForExplain:
		return PrivateKey{}
	case errors.Is(err, fs.ErrPermission) && l.Purpose == ForCheck:
		l.warnf(s.pos, "%s: %s cannot be read (%v); up, as root, has to", s.key, path, err)
		return PrivateKey{}
	case err != nil:
		l.failf(s.pos, "%s: %s cannot be read (%v); a file with one key is wanted", s.key, path, err)
		return PrivateKey{}
	}
	l.guard(s.pos, s.key, path, mode)
	k, err := ParsePrivateKey(strings.TrimSpace(string(data)))
	if err != nil {
		l.failf(s.pos, "%s: %s holds no key; %v", s.key, path, err)
	}
	return k
}

// keyCommand runs the command in the folder of the file that names it.
func (l *loader) keyCommand(command []setting) PrivateKey {
	first := command[0]
	var argv []string
	for _, s := range command {
		argv = append(argv, s.text)
	}
	if argv[0] == "" {
		l.failf(first.pos, "%s names no program; [\"program\", \"argument\", …] is wanted", first.key)
		return PrivateKey{}
	}
	out, err := l.run(filepath.Dir(first.pos.File), argv)
	if err != nil {
		l.failf(first.pos, "%s failed: %v; it has to print one key", first.key, err)
		return PrivateKey{}
	}
	k, err := ParsePrivateKey(out)
	if err != nil {
		l.failf(first.pos, "%s printed no key; %v", first.key, err)
	}
	return k
}
