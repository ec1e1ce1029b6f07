package conf

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Defaults of [host]. The marks live in three bits of the lowest byte that
// Tailscale (0xff0000), Kubernetes (0xc000), portmap (0x2000), mwan3 (0x3f00),
// Calico (0xffff0000) and the AWS CNI (0x80) leave alone, with values that the
// exact marks of wg-quick (0xca6c), Istio (0x1337) and Mullvad (0x6d6f6c65) do
// not show under the mask, nor any single bit. The priority comes before those
// of Tailscale (5210 and on), so that its rules see no LAN traffic.
const (
	defaultTUN        = "turnout0"
	defaultMark       = 0x50
	defaultDirectMark = 0x70
	defaultMask       = 0x70
	defaultTable      = 4200
	defaultPriority   = 4200
	maxPriority       = 32000 // main's rule is 32766, and ours come before it
)

func defaultHost() Host {
	return Host{
		TUN: defaultTUN, Mark: defaultMark, Mask: defaultMask, DirectMark: defaultDirectMark, DirectMask: defaultMask,
		Table: defaultTable, Priority: defaultPriority,
	}
}

// lan reads [lan].
func (l *loader) lan(t *table, lan *LAN) {
	lan.Interfaces = l.interfaces(t)
	lan.Prefixes = l.ownPrefixes(t, "prefixes")
	lan.Local = l.ownPrefixes(t, "local")
	t.unknown()
}

// ownPrefixes reads networks that the host's own routes serve, past all policy.
func (l *loader) ownPrefixes(t *table, key string) []netip.Prefix {
	list := l.prefixes(t, key)
	for _, p := range list {
		if p.Bits() == 0 {
			l.failf(t.pos(key), "%s: \"%s\"; this is everything, and nothing would be left to route; name the LAN's networks", key, p)
		}
	}
	return list
}

func (l *loader) uplink(t *table, u *Uplink) {
	u.Interfaces = l.interfaces(t)
	t.unknown()
}

func (l *loader) interfaces(t *table) (out []string) {
	for _, s := range t.texts("interfaces") {
		if l.interfaceName(s) && slices.Contains(out, s.text) {
			l.failf(s.pos, "interface %s is listed twice; once is enough", s.text)
		}
		out = append(out, s.text)
	}
	return out
}

var ifname = regexp.MustCompile(`^[^\s/:%]{1,15}$`)

// interfaceName objects to what the kernel would not take as a name.
func (l *loader) interfaceName(s setting) bool {
	ok := ifname.MatchString(s.text) && s.text != "." && s.text != ".."
	if !ok {
		l.failf(s.pos, "%s: %s names no interface; 1 to 15 characters without space, slash, colon and percent are allowed", s.key, show(s.text))
	}
	return ok
}

// prefixes reads a list of networks, strictly.
func (l *loader) prefixes(t *table, key string) (out []netip.Prefix) {
	for _, s := range t.texts(key) {
		p, err := parseNetwork(s.text, true)
		if err != nil {
			l.failf(s.pos, "%s: %s; %v", key, show(s.text), err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// host reads [host].
func (l *loader) host(t *table, h *Host) {
	if s, ok := t.one("tun"); ok && l.interfaceName(s) {
		h.TUN = s.text
	}
	const all = 1<<32 - 1
	h.Mark = l.mark(t, "mark", h.Mark)
	h.Mask = l.mark(t, "mark_mask", h.Mask)
	h.DirectMark = l.mark(t, "direct_mark", h.DirectMark)
	h.DirectMask = l.mark(t, "direct_mark_mask", h.DirectMask)
	h.Table = uint32(t.number("table", int64(h.Table), 1, all))
	if h.Table >= 253 && h.Table <= 255 {
		l.failf(t.pos("table"), "table = %d; default, main and local (253 to 255) belong to the system", h.Table)
	}
	h.Priority = uint32(t.number("priority", int64(h.Priority), 1, maxPriority))
	h.AdjustFirewall = t.flag("adjust_firewall", false)
	t.unknown()
	l.marks(t, h)
}

// marks checks the two marks against their masks and each other.
func (l *loader) marks(t *table, h *Host) {
	mark, direct := t.pos("mark"), t.pos("direct_mark")
	ok := true
	if h.Mark == 0 || h.Mark&^h.Mask != 0 {
		l.failf(mark, "mark = %#x with mark_mask = %#x; a mark is not 0 and lies within its mask", h.Mark, h.Mask)
		ok = false
	}
	if h.DirectMark == 0 || h.DirectMark&^h.DirectMask != 0 {
		l.failf(direct, "direct_mark = %#x with direct_mark_mask = %#x; a mark is not 0 and lies within its mask", h.DirectMark, h.DirectMask)
		ok = false
	}
	if !ok || h.Mark&h.DirectMask != h.DirectMark && h.DirectMark&h.Mask != h.Mark {
		return
	}
	if !t.has("direct_mark") {
		direct = mark
	}
	l.failf(direct, "mark = %#x and direct_mark = %#x cannot be told apart under their masks; they have to differ there", h.Mark, h.DirectMark)
}

// mark reads a 32-bit number, as such or as text.
func (l *loader) mark(t *table, key string, def uint32) uint32 {
	list := t.settings(key)
	if len(list) == 0 {
		return def
	}
	n, err := parseMark(list[0].text)
	if err != nil || len(list) > 1 {
		l.failf(t.pos(key), "%s = %s; a 32-bit number such as 0x50 is wanted", key, show(list[0].text))
		return def
	}
	return n
}

// parseMark reads 0x…, decimal or off.
func parseMark(text string) (uint32, error) {
	if strings.EqualFold(text, "off") {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return 0, errors.New("no mark")
	}
	return uint32(n), nil
}

// hooks reads [hooks].
func (l *loader) hooks(t *table, h *Hooks) {
	h.PreUp = l.commands(t, "pre_up")
	h.PostUp = l.commands(t, "post_up")
	h.PreDown = l.commands(t, "pre_down")
	h.PostDown = l.commands(t, "post_down")
	t.unknown()
}

// commands reads a list of argument vectors.
func (l *loader) commands(t *table, key string) (out [][]string) {
	v := t.get(key)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	for i := range list {
		var argv []string
		items, isList := list[i].([]any)
		for _, item := range items {
			arg, isText := item.(string)
			isList = isList && isText
			argv = append(argv, arg)
		}
		if !isList || len(argv) == 0 || argv[0] == "" {
			ok = false
			break
		}
		out = append(out, argv)
	}
	if !ok {
		l.failf(t.pos(key), "%s; a list of commands such as [[\"program\", \"argument\"]] is wanted, no shell runs them", key)
	}
	return out
}
