package nat

// A Tick is a time in whole seconds on a monotonic clock. Its zero is
// arbitrary; ages are differences.
type Tick uint32

// State says how far a flow has come. It decides how long a silent flow is
// kept and which flow goes first when the table is full.
type State uint8

const (
	UDPOneWay   State = iota // only the LAN has spoken
	UDPTwoWay                // the remote end has answered
	DNSQuery                 // UDP to port 53, answered or not
	ICMPQuery                // echo
	TCPOpening               // SYN sent
	TCPAnswered              // SYN of the remote end seen
	TCPPicked                // joined in the middle, the remote end not yet heard
	TCPUp                    // established
	TCPClosing               // a FIN seen
	TCPReset                 // a credible RST seen
	TCPDirect                // on the direct exit, whose replies do not pass here
	Other                    // any other protocol

	resting   // no flow: the port of an ended mapping
	numStates = resting + 1
)

// timers says, in seconds without a packet from the LAN, when a flow of each
// state is forgotten, and when it may be once the table is nearly full.
// Sources: RFC 4787 REQ-5 (UDP; 5a for well-known ports), RFC 5382 REQ-5 and
// RFC 7857 section 2 (TCP), RFC 5508 REQ-2 (ICMP).
var timers = [numStates]struct {
	name            string
	normal, pressed Tick
}{
	UDPOneWay:   {"udp-one-way", 120, 30},
	UDPTwoWay:   {"udp-two-way", 300, 120},
	DNSQuery:    {"dns", 30, 30},
	ICMPQuery:   {"icmp", 60, 30},
	TCPOpening:  {"syn-sent", 240, 30},
	TCPAnswered: {"syn-received", 240, 30},
	TCPPicked:   {"picked-up", 240, 30},
	TCPUp:       {"established", 7440, 7440},
	TCPClosing:  {"closing", 240, 60},
	TCPReset:    {"reset", 240, 10},
	TCPDirect:   {"direct", 7440, 7440},
	Other:       {"other", 600, 120},
	resting:     {"resting", 120, 120},
}

// victims is the order in which living flows make room in a full table, the
// longest silent of each state first. Established TCP flows are not in it: a
// flood of new flows must never cost one that somebody uses. They come last,
// once they were silent for longer than sacred.
var victims = [...]State{
	UDPOneWay, DNSQuery, ICMPQuery,
	TCPOpening, TCPPicked, TCPAnswered,
	TCPReset, TCPClosing,
	TCPDirect, Other, UDPTwoWay,
}

const sacred Tick = 60

func (s State) String() string {
	if s >= numStates {
		return "unknown"
	}
	return timers[s].name
}

// Lifetime returns how long a silent flow of the state is kept, in seconds,
// while the table has room.
func (s State) Lifetime() Tick { return timers[s].normal }
