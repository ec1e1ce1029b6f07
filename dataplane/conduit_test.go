package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// An inner is a conduit and what came out of it.
type inner struct {
	*Conduit
	port uint16
	got  [][]byte
	from []netip.AddrPort
}

func openConduit(t testing.TB, tun *Tunnel, port uint16) *inner {
	t.Helper()
	c := &inner{Conduit: tun.Conduit()}
	var err error
	c.port, err = c.Open(port, func(b []byte, from netip.AddrPort) {
		c.got, c.from = append(c.got, bytes.Clone(b)), append(c.from, from)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func payload(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

// sameByGopacket wants a packet to be, bit for bit, the one that gopacket makes
// of its fields with lengths and checksums of its own.
func sameByGopacket(t *testing.T, b []byte) (*layers.IPv4, *layers.UDP) {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default)
	ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || p.ErrorLayer() != nil {
		t.Fatalf("no datagram: %v", p)
	}
	udp.SetNetworkLayerForChecksum(ip)
	again := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(again, o, ip, udp, gopacket.Payload(udp.Payload)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), b) {
		t.Fatalf("gopacket makes it\n%x\nand not\n%x", again.Bytes(), b)
	}
	return ip, udp
}

func TestConduitSends(t *testing.T) {
	w := newWorld(t)
	c := openConduit(t, w.se, 0)
	datagrams := [][]byte{payload(148, 1), payload(1391, 2), payload(1, 3), {}, payload(1392, 4)}
	if err := c.Send(datagrams, netip.MustParseAddrPort(far+":51820")); err != nil {
		t.Fatal(err)
	}
	out := read(t, w.se, batchSize)
	if len(out) != 4 { // until it is proven that anything leaves
		t.Fatalf("%d packets left", len(out))
	}
	out = append(out, read(t, w.se, batchSize)...)
	var last uint16
	for i, b := range out {
		ip, udp := sameByGopacket(t, b)
		if ip.SrcIP.String() != own || ip.DstIP.String() != far || uint16(udp.SrcPort) != c.port || udp.DstPort != 51820 {
			t.Errorf("datagram %d left from %v:%d to %v:%d", i, ip.SrcIP, udp.SrcPort, ip.DstIP, udp.DstPort)
		}
		if ip.TTL != 64 || ip.Flags != 0 || ip.TOS != 0 || ip.IHL != 5 {
			t.Errorf("datagram %d has the header %+v", i, ip)
		}
		if i > 0 && ip.Id != last+1 {
			t.Errorf("datagram %d has the number %d after %d", i, ip.Id, last)
		}
		last = ip.Id
		if !bytes.Equal(udp.Payload, datagrams[i]) {
			t.Errorf("datagram %d changed on its way", i)
		}
	}
}

// A checksum that comes out as zero is sent as its other form: zero would say
// that there is none (RFC 768).
func TestConduitSendsNoZeroChecksum(t *testing.T) {
	w := newWorld(t)
	c := openConduit(t, w.se, 0)
	send := func(d []byte) uint16 {
		if err := c.Send([][]byte{d}, netip.MustParseAddrPort(far+":51820")); err != nil {
			t.Fatal(err)
		}
		b := read(t, w.se, 1)[0]
		return binary.BigEndian.Uint16(b[26:])
	}
	sum := send([]byte{0, 0})
	d := binary.BigEndian.AppendUint16(nil, sum)
	if got := send(d); got != 0xffff {
		t.Errorf("the checksum is %#x", got)
	}
}

// What is larger than the tunnel's MTU is fragmented, checksum and all.
func TestConduitSendsFragments(t *testing.T) {
	w := newWorld(t)
	c := openConduit(t, w.se, 0)
	d := payload(4000, 1)
	if err := c.Send([][]byte{d}, netip.MustParseAddrPort(far+":51820")); err != nil {
		t.Fatal(err)
	}
	out := read(t, w.se, batchSize)
	if len(out) != 3 {
		t.Fatalf("%d fragments", len(out))
	}
	l4 := reassemble(t, out)
	v := sound(t, out[0])
	if packet.Checksum(l4, packet.PseudoSum(v, len(l4))) != 0xffff || !bytes.Equal(l4[8:], d) {
		t.Error("the datagram changed on its way")
	}
	if sound(t, out[1]).ID != v.ID || sound(t, out[2]).ID != v.ID {
		t.Error("the fragments do not belong together")
	}
}

func TestWhatConduitsRefuse(t *testing.T) {
	w := newWorld(t)
	c := w.se.Conduit()
	to := netip.MustParseAddrPort(far + ":51820")
	if err := c.Send([][]byte{{1}}, to); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed conduit sends: %v", err)
	}
	o := openConduit(t, w.se, 0)
	if err := o.Send([][]byte{{1}}, netip.MustParseAddrPort("[2001:db8::1]:9")); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("sending to IPv6: %v", err)
	}
	if err := o.Send([][]byte{make([]byte, 65535-28+1)}, to); err != nil || w.se.Dropped[packet.TooBig].Load() != 1 {
		t.Errorf("more than a packet holds: %v, dropped %d", err, w.se.Dropped[packet.TooBig].Load())
	}
	if _, err := o.Open(0, nil); err == nil {
		t.Error("a conduit opens twice")
	}
	if _, err := c.Open(o.port, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("two have one port: %v", err)
	}
	six := w.NewTunnel(TunnelOptions{Name: "six", MTU: 1420, Address6: packet.Addr{Lo: 9}})
	if _, err := six.Conduit().Open(0, nil); err == nil {
		t.Error("a conduit opens in a tunnel without IPv4")
	}
	w.se.Close()
	if err := o.Send([][]byte{{1}}, to); err != nil || w.se.Dropped[packet.TunnelDown].Load() != 1 {
		t.Errorf("into a closed tunnel: %v, dropped %d", err, w.se.Dropped[packet.TunnelDown].Load())
	}
}

// A full ring loses what comes and holds up nobody.
func TestConduitNeverWaits(t *testing.T) {
	w := newWorld(t)
	c := openConduit(t, w.se, 0)
	d := make([][]byte, ringSlots+9)
	for i := range d {
		d[i] = payload(100, i)
	}
	if err := c.Send(d, netip.MustParseAddrPort(far+":51820")); err != nil {
		t.Fatal(err)
	}
	if n := w.se.Dropped[packet.QueueFull].Load(); n != 9 {
		t.Errorf("%d were dropped, not 9", n)
	}
}

func TestConduitReceives(t *testing.T) {
	w := newWorld(t)
	c, other := openConduit(t, w.se, 0), openConduit(t, w.se, 4500)
	whole := udp(far, own, 51820, c.port, 500)
	damaged := bytes.Clone(whole)
	damaged[100]++
	unsummed := bytes.Clone(whole)
	unsummed[26], unsummed[27] = 0, 0
	longer := append(bytes.Clone(whole), make([]byte, 20)...) // beyond the packet's own end
	for _, r := range []struct {
		name string
		pkt  []byte
		got  bool
		why  packet.Reason
	}{
		{"whole", whole, true, packet.OK},
		{"without checksum", unsummed, true, packet.OK},
		{"longer", longer, true, packet.OK},
		{"damaged", damaged, false, packet.BadChecksum},
		// In pieces, the last one first: the device gets the whole.
		{"last fragment", fragmentOf(whole, 400, 508, false), false, packet.OK},
		{"middle fragment", fragmentOf(whole, 200, 400, true), false, packet.OK},
		{"first fragment", fragmentOf(whole, 0, 200, true), true, packet.OK},
		{"another port", udp(far, own, 51820, c.port-1, 500), false, packet.NoFlow},
		{"another address", udp(far, "10.64.0.3", 51820, c.port, 500), false, packet.NoFlow},
		{"a LAN host's source", udp(host, own, 51820, c.port, 500), false, packet.SpoofedSource},
		{"TCP", tcp(far, own, 51820, c.port, 1, packet.ACK, nil, nil), false, packet.NoFlow},
	} {
		before := w.se.Dropped[r.why].Load()
		give(t, w.se, r.pkt)
		if len(c.got) > 0 != r.got {
			t.Errorf("%s: %d datagrams came", r.name, len(c.got))
		}
		if r.why != packet.OK && w.se.Dropped[r.why].Load() != before+1 {
			t.Errorf("%s: not dropped as %v", r.name, r.why)
		}
		if r.got && (!bytes.Equal(c.got[0], whole[28:]) || c.from[0] != netip.MustParseAddrPort(far+":51820")) {
			t.Errorf("%s: %d bytes came from %v", r.name, len(c.got[0]), c.from[0])
		}
		c.got, c.from = nil, nil
	}
	if len(other.got) > 0 {
		t.Error("the other conduit got something")
	}
	give(t, w.no, whole) // the same address and port in another tunnel
	if len(c.got) > 0 {
		t.Error("a conduit of one tunnel hears another one")
	}
}

// Flows of the LAN go on beside a conduit, and a closed one is as none.
func TestFlowsBesideConduits(t *testing.T) {
	w := newWorld(t)
	c := openConduit(t, w.se, 0)
	w.send(segment.Header{}, udp(host, far, 5000, 53, 100))
	read(t, w.se, batchSize)
	give(t, w.se, udp(far, own, 53, 5000, 100))
	if _, back := w.got(); back == nil {
		t.Fatal("no answer arrived")
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if w.se.conduits.open.Load() != nil || c.Port() != 0 {
		t.Error("something is left of the conduit")
	}
	give(t, w.se, udp(far, own, 51820, c.port, 100))
	if w.se.Dropped[packet.NoFlow].Load() != 1 || len(c.got) > 0 {
		t.Error("a closed conduit takes packets")
	}
}

func TestConduitPorts(t *testing.T) {
	w := newWorld(t)
	if p := w.se.ConduitPorts(); len(p) != 0 {
		t.Fatalf("ports %v", p)
	}
	seen := map[uint16]bool{}
	var all []*inner
	for range 50 {
		c := openConduit(t, w.se, 0)
		if c.port < 49152 || seen[c.port] || c.Port() != c.port {
			t.Fatalf("port %d", c.port)
		}
		seen[c.port] = true
		all = append(all, c)
	}
	for _, c := range all[:49] {
		c.Close()
	}
	last := all[49].port
	if p := w.se.ConduitPorts(); len(p) != 1 || p[0] != last {
		t.Errorf("ports %v, not %d", p, last)
	}
	// The same port again after a rebind, and none once all are taken.
	all[49].Close()
	c := openConduit(t, w.se, last)
	c.Close()
	var list []*openPort
	for p := firstPort; p < 1<<16; p++ {
		list = append(list, &openPort{port: uint16(p)})
	}
	w.se.conduits.open.Store(&list)
	if _, err := c.Open(0, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port beyond the last: %v", err)
	}
}

func TestConduitMTU(t *testing.T) {
	for outer, want := range map[int]int{1420: 1360, 1440: 1380, 1280: 1220, 636: 576, 635: 576, 576: 576} {
		if got := ConduitMTU(outer); got != want {
			t.Errorf("inside of %d: %d, not %d", outer, got, want)
		}
	}
}

// Ports open and close while datagrams come and go.
func TestConduitsAtOnce(t *testing.T) {
	w := newWorld(t)
	keep := openConduit(t, w.se, 0)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c := w.se.Conduit()
			for range 200 {
				if _, err := c.Open(0, func([]byte, netip.AddrPort) {}); err != nil {
					t.Error(err)
				}
				c.Send([][]byte{payload(100, 1)}, netip.MustParseAddrPort(far+":51820"))
				keep.Send([][]byte{payload(100, 1)}, netip.MustParseAddrPort(far+":51820"))
				c.Close()
			}
		})
	}
	for range 200 {
		give(t, w.se, udp(far, own, 51820, keep.port, 100))
	}
	all.Wait()
	if len(keep.got) != 200 || len(w.se.ConduitPorts()) != 1 {
		t.Errorf("%d datagrams came; open are %v", len(keep.got), w.se.ConduitPorts())
	}
}
