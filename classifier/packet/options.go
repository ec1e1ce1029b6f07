package packet

// IPv4 options that ask for source routing (RFC 791, 3.1; RFC 7126, 4.3).
const (
	looseSourceRoute  = 131
	strictSourceRoute = 137
)

// ipOptions reports whether the options of an IPv4 header are well formed
// and none of them chooses the packet's way.
func ipOptions(o []byte) bool {
	for len(o) > 0 {
		kind, n := o[0], 1
		switch kind {
		case 0:
			return true
		case 1:
		case looseSourceRoute, strictSourceRoute:
			return false
		default:
			if n = optionLen(o); n == 0 {
				return false
			}
		}
		o = o[n:]
	}
	return true
}

// optionLen returns the length of the option at the start of o, or 0 when it
// is less than its own two octets or more than what is there. TCP and IPv4
// agree on this form.
func optionLen(o []byte) int {
	if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
		return 0
	}
	return int(o[1])
}

// tcpOptions reports whether the options of a TCP header are well formed and
// hold at most one, possible, maximum segment size.
func tcpOptions(o []byte) bool {
	mss := false
	for len(o) > 0 {
		n := 1
		switch o[0] {
		case 0:
			return true
		case 1:
		default:
			if n = optionLen(o); n == 0 {
				return false
			}
			if o[0] == 2 {
				if mss || n != 4 || be16(o[2:]) == 0 {
					return false
				}
				mss = true
			}
		}
		o = o[n:]
	}
	return true
}

// findMSS returns where the value of the maximum segment size stands in the
// options o, or -1. The options are those of a decoded packet.
func findMSS(o []byte) int {
	for i := 0; i < len(o); {
		switch o[i] {
		case 0:
			return -1
		case 1:
			i++
		default:
			n := optionLen(o[i:])
			if n == 0 {
				return -1
			}
			if o[i] == 2 && n == 4 {
				return i + 2
			}
			i += n
		}
	}
	return -1
}
