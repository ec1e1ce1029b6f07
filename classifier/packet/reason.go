package packet

// A Reason says why a packet was not forwarded as it came. One list serves the
// decoder, the policy, NAT and the data path: enum, name and text together, so
// that a counter, a log line and a metric always speak of the same thing.
type Reason uint8

const (
	OK Reason = iota
	// Malformed packets.
	BadLength
	BadVersion
	BadHeader
	BadChecksum
	BadAddress
	BadOption
	BadFragment
	BadTCP
	BadUDP
	BadICMP
	BadExtension
	BadOffload
	// Policy.
	PolicyDrop
	PolicyReject
	NotCovered
	NoExit
	IPv6Refused
	// Anti-spoofing and state.
	ForeignSource
	SpoofedSource
	NotLANDestination
	NoFlow
	NotAccepted
	NoRelay
	InvalidState
	FlowTableFull
	HostLimit
	NoFreePort
	FragmentUnknown
	FragmentOverlap
	FragmentLimit
	// The path.
	TooBig
	TTLExpired
	QueueFull
	TunnelDown
	WriteFailed
	Closed

	NumReasons
)

var reasons = [NumReasons]struct{ name, text string }{
	OK:                {"ok", "forwarded"},
	BadLength:         {"bad-length", "the packet is shorter than its headers say"},
	BadVersion:        {"bad-version", "the IP version is neither 4 nor 6"},
	BadHeader:         {"bad-header", "the IP header contradicts itself"},
	BadChecksum:       {"bad-checksum", "a header checksum is wrong"},
	BadAddress:        {"bad-address", "an address that no packet on a wire may carry"},
	BadOption:         {"bad-option", "an IP option is malformed or asks for source routing"},
	BadFragment:       {"bad-fragment", "a fragment that no honest sender makes"},
	BadTCP:            {"bad-tcp", "the TCP header is malformed or its flags are impossible"},
	BadUDP:            {"bad-udp", "the UDP header is malformed"},
	BadICMP:           {"bad-icmp", "the ICMP message is malformed"},
	BadExtension:      {"bad-extension", "the IPv6 extension headers are malformed or too many"},
	BadOffload:        {"bad-offload", "the virtio header contradicts the packet"},
	PolicyDrop:        {"policy-drop", "policy says drop"},
	PolicyReject:      {"policy-reject", "policy says reject"},
	NotCovered:        {"not-covered", "the tunnel's AllowedIPs do not cover the destination"},
	NoExit:            {"no-exit", "no rule, route, AllowedIPs or default takes it"},
	IPv6Refused:       {"ipv6-refused", "IPv6 is not routed"},
	ForeignSource:     {"foreign-source", "the source is not a LAN address"},
	SpoofedSource:     {"spoofed-source", "a tunnel sent a packet with a source it may not use"},
	NotLANDestination: {"not-lan-destination", "a tunnel sent a packet that is not for the LAN"},
	NoFlow:            {"no-flow", "nothing on the LAN asked for it"},
	NotAccepted:       {"not-accepted", "the tunnel's hosts may not start this conversation"},
	NoRelay:           {"no-relay", "a tunnel's packet that policy sends to no tunnel"},
	InvalidState:      {"invalid-state", "it cannot start a conversation"},
	FlowTableFull:     {"flow-table-full", "the flow table is full"},
	HostLimit:         {"host-limit", "the host has all the conversations that one host may have"},
	NoFreePort:        {"no-free-port", "the tunnel's address has no free port left"},
	FragmentUnknown:   {"fragment-unknown", "the first fragment was never seen"},
	FragmentOverlap:   {"fragment-overlap", "fragments of one datagram contradict each other"},
	FragmentLimit:     {"fragment-limit", "too many datagrams in fragments at once"},
	TooBig:            {"too-big", "larger than the tunnel's MTU and not to be fragmented"},
	TTLExpired:        {"ttl-expired", "its TTL ran out"},
	QueueFull:         {"queue-full", "the tunnel's queue is full"},
	TunnelDown:        {"tunnel-down", "the tunnel is closed"},
	WriteFailed:       {"write-failed", "the TUN device did not take it"},
	Closed:            {"closed", "the router is stopping"},
}

// String returns the short name that counters and metrics use.
func (r Reason) String() string { return reasons[r].name }

// Text returns the reason in words for a person.
func (r Reason) Text() string { return reasons[r].text }
