package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
	"turnout/dataplane/fragment"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
	"turnout/tests/hostile"
)

// A still is a world in which packets move only when a test moves them, so that
// all that comes of one is known when it is done.
type still struct {
	*world
	d     *dispatcher
	talk  [hostile.Sides]hostile.Talk
	seeds []func(hostile.Talk) []byte
	bufs  [][]byte
	sizes []int
	frame []byte   // for one packet of the kernel's
	told  [][]byte // what a conduit of se received
}

// conduitPort is the port of a conduit through the tunnel se.
const conduitPort = 50000

func newStillSeams(f testing.TB) *still {
	s := &still{world: newStill(f), seeds: hostile.Seeds(), bufs: buffers(), sizes: make([]int, batchSize), frame: make([]byte, segment.HeaderLen+frameSize)}
	s.d = &dispatcher{Engine: s.Engine, frame: s.frames.get(), writer: s.tun.NewWriter(), plan: s.Plan()}
	_, err := s.se.Conduit().Open(conduitPort, func(b []byte, _ netip.AddrPort) { s.told = append(s.told, bytes.Clone(b)) })
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// begin forgets all flows and begins two conversations. The first is another
// host's and takes the ports that the second would have, so that NAT changes
// those as well: s.talk says to which.
func (s *still) begin() {
	s.flows.Close() // a table's memory is not the collector's
	s.flows = nat.New(nat.Options{MaxFlows: 1024})
	s.fragments = fragment.New(fragment.Options{Datagrams: 64, Bytes: 64 << 10})
	lan, far := talks()[hostile.LAN], talks()[hostile.Tunnel]
	lan.Src = netip.MustParseAddr("192.168.77.11")
	s.converse([hostile.Sides]hostile.Talk{lan, far})
	s.talk = s.converse(talks())
}

// converse begins a conversation and returns it as it is.
func (s *still) converse(talk [hostile.Sides]hostile.Talk) [hostile.Sides]hostile.Talk {
	far := &talk[hostile.Tunnel]
	for _, step := range hostile.Begin(talk) { // of the far end's steps, none is true yet
		if step.Side == hostile.LAN {
			s.lan(make([]byte, segment.HeaderLen), step.Packet)
		}
	}
	left := s.left(s.se) // a datagram, an echo, a SYN of each connection, an ACK of the second
	if len(left) != 5 {
		s.Fatalf("%d packets begin a conversation", len(left))
	}
	for i, port := range []*uint16{&far.UDP.Dst, &far.Echo, &far.Opening.Dst, &far.TCP.Dst} {
		var v packet.View
		v.Decode(left[i])
		*port = v.SrcPort
	}
	for _, step := range hostile.Begin(talk) {
		if step.Side == hostile.Tunnel {
			s.write(step.Packet)
		}
	}
	s.delivered()
	return talk
}

// lan hands the dispatcher what the TUN device would: a virtio header and a
// packet, or what pretends to be.
func (s *still) lan(head, pkt []byte) {
	n := copy(s.d.frame.data[:], head)
	n += copy(s.d.frame.data[n:], pkt)
	s.d.packet(n)
	s.d.woken.flush()
}

// write hands the tunnel packets, as WireGuard would.
func (s *still) write(pkts ...[]byte) {
	var bufs [][]byte
	for _, pkt := range pkts {
		bufs = append(bufs, append(make([]byte, 16), pkt...))
	}
	s.se.Write(bufs, 16)
}

// left returns what has left by a tunnel.
func (s *still) left(t *Tunnel) (pkts [][]byte) {
	for {
		n := t.fill(s.bufs, s.sizes, 16)
		if n == 0 {
			return pkts
		}
		for i := range n {
			pkts = append(pkts, bytes.Clone(s.bufs[i][16:][:s.sizes[i]]))
		}
	}
}

// delivered returns what the kernel has got.
func (s *still) delivered() (outs []output) {
	conn, err := s.kernel.SyscallConn()
	if err != nil {
		s.Fatal(err)
	}
	conn.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), s.frame)
			if err != nil {
				return true
			}
			var o output
			o.header.Decode(s.frame)
			o.packet = bytes.Clone(s.frame[segment.HeaderLen:n])
			outs = append(outs, o)
		}
	})
	return outs
}

// mutated makes another packet of one of the conversation; that with the conduit
// is numbered from 1<<15 on.
func (s *still) mutated(side hostile.Side, pick int, next func() uint32) []byte {
	talk := s.talk[side]
	if side == hostile.Tunnel && pick>>15 == 1 {
		talk.UDP.Dst = conduitPort
	}
	return hostile.Mutate(nil, s.seeds[pick%(1<<15)%len(s.seeds)](talk), next)
}

// numbers draws them from what the fuzzer gives, and zeros when that is used up.
func numbers(b []byte) func() uint32 {
	return func() uint32 {
		var four [4]byte
		n := copy(four[:], b)
		b = b[n:]
		return binary.LittleEndian.Uint32(four[:])
	}
}

// FuzzDispatch gives the dispatcher a packet of a stranger behind the virtio
// header of a stranger: one that raw has, or a mutated one of a conversation.
// Nothing panics, what leaves by a tunnel fits it and has an address and
// checksums as it must, and what goes to the kernel is for a LAN host or direct.
func FuzzDispatch(f *testing.F) {
	s := newStillSeams(f)
	none := make([]byte, segment.HeaderLen)
	tcp := segment.Header{Flags: segment.NeedsChecksum, GSOType: segment.GSOTCPv4, GSOSize: 8, CsumStart: 20, CsumOffset: 16}
	super := make([]byte, segment.HeaderLen)
	tcp.Encode(super)
	for i := range s.seeds {
		f.Add(none, uint16(i), []byte{}, []byte{})
		f.Add(super, uint16(i), bytes.Repeat([]byte{byte(i), 200}, 40), []byte{})
	}
	f.Add(none, uint16(0), []byte{}, udp(host, "203.0.113.9", 5000, 53, 10))
	f.Add(none, uint16(0), []byte{}, tcp4Reject)
	f.Add(none[:3], uint16(0), []byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, head []byte, pick uint16, edits, raw []byte) {
		s.begin()
		pkt := bytes.Clone(raw[:min(len(raw), 8<<10)]) // TestMalformed has the large ones
		if len(raw) == 0 {
			pkt = s.mutated(hostile.LAN, int(pick), numbers(edits))
		}
		hostile.MendHeader(pkt) // the kernel passes on no other
		s.lan(head, pkt)
		var h segment.Header
		h.Decode(head)
		verdict := judge{plain: h == (segment.Header{}) && len(head) == segment.HeaderLen, super: h.GSOType != segment.GSONone}
		verdict.intact = verdict.plain && intactInput(pkt)
		for _, b := range s.left(s.se) {
			if err := errors.Join(toTunnel(b), verdict.sums(b)); err != nil {
				t.Fatalf("into the tunnel: %v: %x", err, b)
			}
		}
		for _, b := range s.left(s.no) {
			if err := errors.Join(toSite(b), verdict.sums(b)); err != nil {
				t.Fatalf("to the site: %v: %x", err, b)
			}
		}
		for _, o := range s.delivered() {
			if err := toLAN(o.packet); err != nil {
				t.Fatalf("to the kernel: %v: %x", err, o.packet)
			}
		}
	})
}

var tcp4Reject = tcp(host, "192.0.2.2", 5003, 80, 7, packet.SYN, nil, nil)

func firstFragment(pkt []byte) bool {
	var v packet.View
	return v.Decode(pkt) == packet.OK && v.Frag == packet.First
}

// FuzzWrite gives the tunnel packets of strangers, one by one and then as one
// batch. Nothing panics, what goes to the kernel is a valid packet for a LAN
// host whose checksums are as true as they were, and what the tunnel is given
// in answer is valid too.
func FuzzWrite(f *testing.F) {
	s := newStillSeams(f)
	for i := range s.seeds {
		f.Add(uint16(i), uint8(i), []byte{}, []byte{})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2 * len(s.seeds) {
		edits := make([]byte, 120)
		for i := range edits {
			edits[i] = byte(rng.Uint32())
		}
		f.Add(uint16(rng.IntN(len(s.seeds))), uint8(rng.IntN(6)), edits, []byte{})
	}
	f.Add(uint16(0), uint8(0), []byte{}, []byte{0x60, 0, 0, 0})
	f.Add(uint16(1<<15), uint8(2), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, pick uint16, many uint8, edits, raw []byte) {
		next := numbers(edits)
		s.begin()
		pkts := [][]byte{raw}
		for i := range int(many % 6) {
			pkts = append(pkts, s.mutated(hostile.Tunnel, int(pick)+i, next))
		}
		arrived, wrong := 0, 0
		for _, pkt := range pkts {
			in := judge{plain: true, intact: intactInput(pkt)}
			s.told = nil
			s.write(pkt)
			outs := s.delivered()
			// A first fragment brings along those that have waited for it.
			if len(outs)+len(s.told) > 1 && !firstFragment(pkt) {
				t.Fatalf("%x comes out as %d packets", pkt, len(outs)+len(s.told))
			}
			for _, b := range s.told {
				if !in.intact || !bytes.Contains(pkt, b) {
					t.Fatalf("the conduit makes %x of %x", b, pkt)
				}
			}
			for _, o := range outs {
				if err := errors.Join(toLAN(o.packet), in.sums(o.packet)); err != nil {
					t.Fatalf("%x goes to the LAN: %v: %x", pkt, err, o.packet)
				}
				arrived++
				if !in.intact {
					wrong++
				}
			}
		}
		s.write(pkts...)
		pieces, still := 0, 0
		for _, o := range s.delivered() {
			n, bad, err := s.count(o)
			if err != nil {
				t.Fatalf("of a batch to the LAN: %v: %+v %x", err, o.header, o.packet)
			}
			pieces, still = pieces+n, still+bad
		}
		// A reset among them may have closed what the others belong to.
		if pieces == arrived && still != wrong {
			t.Fatalf("%d packets with wrong checksums arrive one by one, in a batch %d", wrong, still)
		}
		for _, b := range s.left(s.se) {
			if err := toTunnel(b); err != nil {
				t.Fatalf("an answer: %v: %x", err, b)
			}
		}
	})
}

// A judge knows what the checksums of the packet were that came in.
type judge struct {
	plain  bool // as they are, complete
	super  bool // made anew by who cuts
	intact bool // and true
}

// sums says what is wrong with the checksums of a packet that came of it.
func (j *judge) sums(b []byte) error {
	var v packet.View
	if !j.plain && !j.super || v.Decode(b) != packet.OK {
		return nil
	}
	if is := truthful(b, &v); v.Frag == packet.Whole && is != (j.super || j.intact) {
		return fmt.Errorf("the checksums are true: %v, and were: %v", is, j.intact)
	}
	return nil
}

// intactInput reports whether the transport checksum of what decodes is true.
func intactInput(b []byte) bool {
	var v packet.View
	if v.Decode(b) != packet.OK || v.Version != 4 || v.Frag != packet.Whole {
		return true
	}
	return truthful(b, &v)
}

// count returns how many packets the kernel will make of an output, and how
// many of them have wrong checksums.
func (s *still) count(o output) (n, wrong int, err error) {
	var v packet.View
	var c segment.Cutter
	if v.Decode(o.packet) != packet.OK || c.Start(o.header, o.packet, &v) != packet.OK {
		return 0, 0, fmt.Errorf("the kernel would refuse it")
	}
	for ; c.Left() > 0; n++ {
		piece := s.frame[:c.Next(s.frame)]
		if err := toLAN(piece); err != nil {
			return n, wrong, err
		}
		if v.Decode(piece); !truthful(piece, &v) {
			wrong++
		}
	}
	return n, wrong, nil
}

// toSite says what is wrong with a packet that the tunnel of no was given.
func toSite(b []byte) error {
	var v packet.View
	if why := v.Decode(b); why != packet.OK {
		return fmt.Errorf("malformed: %v", why)
	}
	if v.Src.V4()>>8 != 0xc0a84d || v.Dst.V4()>>24 != 10 || len(b) > 1280 {
		return fmt.Errorf("%d bytes from %v to %v", len(b), v.Src, v.Dst)
	}
	return nil
}
