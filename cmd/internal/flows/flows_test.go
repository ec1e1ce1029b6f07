package flows

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"turnout/cmd/internal/control"
)

func text(q control.Query) string {
	return fmt.Sprintf("%v:%d %v:%d %d/%d", q.From, q.FromPort, q.To, q.Port, q.Proto, q.DSCP)
}

func TestReadCSV(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"192.168.1.5,8.8.8.8,udp,5353,53,46\n", "192.168.1.5:5353 8.8.8.8:53 17/46"},
		{"# flows\n\n,8.8.8.8\n, 9.9.9.9 , tcp ,, 443\n", "invalid IP:0 8.8.8.8:0 1/0; invalid IP:0 9.9.9.9:443 6/0"},
		{"\ufeffport,to\r\n443,8.8.8.8\r\n,2001:db8::1\r\n", "invalid IP:0 8.8.8.8:443 6/0; invalid IP:0 2001:db8::1:0 1/0"},
		{"To,Proto,DSCP\n\"8.8.8.8\",47,1\n", "invalid IP:0 8.8.8.8:0 47/1"},
		{"", ""},
	} {
		list, err := ReadCSV("f.csv", strings.NewReader(c.text))
		var got []string
		for _, q := range list {
			got = append(got, text(q))
		}
		if err != nil || strings.Join(got, "; ") != c.want {
			t.Errorf("%q: %s, %v; want %s", c.text, strings.Join(got, "; "), err, c.want)
		}
	}
}

func TestBadCSV(t *testing.T) {
	const text = "from,to,proto,from_port,port,dscp\n" +
		"x,8.8.8.8\n" + // 2
		"1.1.1.1,8.8.8.8,tcp,1,65536\n" + // 3
		"1.1.1.1,8.8.8.8,tcp,1,2,64\n" + // 4
		"1.1.1.1,,tcp,1,2\n" + // 5
		"1.1.1.1,8.8.8.8,tcpp\n" + // 6
		"1.1.1.1,8.8.8.8,tcp\n" + // 7
		"1.1.1.1,8.8.8.8,tcp,1,2,3,4\n" + // 8
		"2001:db8::1,8.8.8.8\n" // 9
	_, err := ReadCSV("f.csv", strings.NewReader(text))
	if err == nil {
		t.Fatal("no error")
	}
	const want = `f.csv:2: from = "x"; an address is wanted
f.csv:3: port = "65536"; a number from 0 to 65535 is wanted
f.csv:4: dscp = "64"; a number from 0 to 63 is wanted
f.csv:5: to is missing: the address that the packet is for
f.csv:6: protocol "tcpp": tcp, udp, icmp, icmpv6 or a number from 0 to 255
f.csv:7: proto tcp needs port, 1 to 65535
f.csv:8: 7 columns; at most 6 are wanted: from,to,proto,from_port,port,dscp
f.csv:9: from 2001:db8::1 and to 8.8.8.8 are of different families`
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, bad := range []string{"to,to\n", "to,ports\n", "a,\"b\n"} {
		if _, err := ReadCSV("f.csv", strings.NewReader(bad)); err == nil || !strings.HasPrefix(err.Error(), "f.csv:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ReadCSV("f.csv", strings.NewReader(strings.Repeat("x,y\n", 1000))); strings.Count(err.Error(), "\n") != maxErrors-1 {
		t.Errorf("%d lines of errors", strings.Count(err.Error(), "\n"))
	}
}

// ip builds a packet; ports 0 leave the transport header out.
func ip(t testing.TB, src, dst string, proto layers.IPProtocol, sport, dport uint16, n int) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	var head gopacket.SerializableLayer
	var network gopacket.NetworkLayer
	if from.Is4() {
		h := &layers.IPv4{Version: 4, TTL: 64, TOS: 46 << 2, Protocol: proto, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		head, network = h, h
	} else {
		h := &layers.IPv6{Version: 6, HopLimit: 64, TrafficClass: 46 << 2, NextHeader: proto, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		head, network = h, h
	}
	list := []gopacket.SerializableLayer{head}
	switch proto {
	case layers.IPProtocolTCP:
		l := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), SYN: true, Window: 100}
		l.SetNetworkLayerForChecksum(network)
		list = append(list, l)
	case layers.IPProtocolUDP:
		l := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
		l.SetNetworkLayerForChecksum(network)
		list = append(list, l)
	case layers.IPProtocolICMPv4:
		list = append(list, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(uint8(sport), 0), Id: dport})
	}
	if err := gopacket.SerializeLayers(b, o, append(list, gopacket.Payload(make([]byte, n)))...); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(b.Bytes())
}

func ethernet(b []byte, tags ...uint16) []byte {
	head := make([]byte, 12)
	for _, tag := range tags {
		head = binary.BigEndian.AppendUint16(head, 0x8100)
		head = binary.BigEndian.AppendUint16(head, tag)
	}
	kind := uint16(0x0800)
	if b[0]>>4 == 6 {
		kind = 0x86dd
	}
	return append(binary.BigEndian.AppendUint16(head, kind), b...)
}

func sll2(b []byte) []byte { return append([]byte{8, 0, 19: 0}, b...) }

// pcap writes packets as tcpdump does; snap cuts them.
func pcap(t testing.TB, link layers.LinkType, snap int, list ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := pcapgo.NewWriter(&out)
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), Length: len(b), CaptureLength: min(len(b), snap)}
		if err := w.WritePacket(ci, b[:ci.CaptureLength]); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func pcapng(t testing.TB, link layers.LinkType, list ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := pcapgo.NewNgWriter(&out, link)
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw, SnapLength: 65535})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range list {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), Length: len(b), CaptureLength: len(b)}
		if i%2 == 1 {
			b, ci.InterfaceIndex = b[14:], other
			ci.Length, ci.CaptureLength = len(b), len(b)
		}
		if err := w.WritePacket(ci, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadCapture(t *testing.T) {
	const tcp, udp, icmp = layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv4
	lan := []netip.Prefix{netip.MustParsePrefix("192.168.77.0/24")}
	syn := ip(t, "192.168.77.5", "8.8.8.8", tcp, 40000, 443, 0)
	answer := ip(t, "8.8.8.8", "192.168.77.5", tcp, 443, 40000, 10)
	query := ip(t, "192.168.77.5", "9.9.9.9", udp, 40001, 53, 500)
	ping := ip(t, "192.168.77.6", "9.9.9.9", icmp, 8, 7, 0)
	pong := ip(t, "9.9.9.9", "192.168.77.6", icmp, 0, 7, 0)
	gre := ip(t, "192.168.77.5", "9.9.9.9", layers.IPProtocolGRE, 0, 0, 20)
	six := ip(t, "2001:db8::5", "2001:db8::6", udp, 1, 2, 3)
	broken := slices.Clone(syn)
	broken[2], broken[3] = 0, 10 // shorter than its header
	later := slices.Clone(query)
	later[7] = 50
	arp := append(make([]byte, 12), 8, 6)
	want := []string{"192.168.77.5:40000 8.8.8.8:443 6/46", "192.168.77.5:40001 9.9.9.9:53 17/46", "192.168.77.6:0 9.9.9.9:0 1/46"}

	each := func(f func([]byte) []byte, list ...[]byte) (out [][]byte) {
		for _, b := range list {
			out = append(out, f(b))
		}
		return out
	}
	plain := func(b []byte) []byte { return ethernet(b) }
	all := [][]byte{syn, answer, syn, query, ping, pong}
	for name, file := range map[string][]byte{
		"pcap":         pcap(t, layers.LinkTypeEthernet, 65535, each(plain, all...)...),
		"cut":          pcap(t, layers.LinkTypeEthernet, 64, each(plain, all...)...),
		"tags":         pcap(t, layers.LinkTypeEthernet, 65535, each(func(b []byte) []byte { return ethernet(b, 5, 6) }, all...)...),
		"raw":          pcap(t, layers.LinkTypeRaw, 65535, all...),
		"all devices":  pcap(t, linuxSLL2, 65535, each(sll2, all...)...),
		"pcapng mixed": pcapng(t, layers.LinkTypeEthernet, each(plain, all...)...),
	} {
		for _, known := range [][]netip.Prefix{nil, lan} {
			list, skipped, err := ReadCapture(bytes.NewReader(file), known)
			var got []string
			for _, q := range list {
				got = append(got, text(q))
				if err := q.Validate(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err != nil || !slices.Equal(got, want) || skipped.NoFlow != 1 || skipped.Answers != len(known) {
				t.Errorf("%s: %q, %+v, %v; want %q", name, got, skipped, err, want)
			}
		}
	}

	odd := pcap(t, layers.LinkTypeEthernet, 65535, append(each(plain, gre, six, broken, later), arp)...)
	list, skipped, err := ReadCapture(bytes.NewReader(odd), nil)
	if err != nil || len(list) != 2 || list[0].Proto != 47 || !list[1].To.Is6() || skipped != (Skipped{NotIP: 1, Malformed: 1, NoFlow: 1}) && skipped != (Skipped{NotIP: 2, NoFlow: 1}) {
		t.Errorf("%v, %+v, %v", list, skipped, err)
	}
	// An answer that comes first starts no flow where the LAN is known.
	list, _, _ = ReadCapture(bytes.NewReader(pcap(t, layers.LinkTypeRaw, 65535, answer, syn)), lan)
	if len(list) != 1 || text(list[0]) != want[0] {
		t.Errorf("an answer first: %v", list)
	}
}

func TestBrokenCaptures(t *testing.T) {
	good := pcap(t, layers.LinkTypeRaw, 65535, ip(t, "10.0.0.1", "10.0.0.2", layers.IPProtocolUDP, 1, 2, 9))
	for _, c := range []struct {
		file []byte
		want string
	}{
		{nil, "no pcap or pcapng"},
		{[]byte("from,to\n8.8.8.8,9.9.9.9 and so on, for long enough"), "no pcap or pcapng"},
		{good[:len(good)-1], "breaks off"},
		{good[:30], "breaks off"},
	} {
		if _, _, err := ReadCapture(bytes.NewReader(c.file), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.file, err, c.want)
		}
	}
}

// Whatever the file, flows that come out of it can be asked about.
func FuzzReadCapture(f *testing.F) {
	syn := ethernet(ip(f, "10.0.0.1", "10.0.0.2", layers.IPProtocolTCP, 1, 2, 0))
	f.Add(pcap(f, layers.LinkTypeEthernet, 65535, syn))
	f.Add(pcapng(f, layers.LinkTypeEthernet, syn, syn))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<16 {
			return
		}
		list, _, _ := ReadCapture(bytes.NewReader(file), nil)
		for _, q := range list {
			if err := q.Validate(); err != nil {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// Whatever the text, its flows can be asked about, and what is wrong is said.
func FuzzReadCSV(f *testing.F) {
	for _, text := range []string{
		"8.8.8.8\n", "from,to,proto,from_port,port,dscp\n10.0.0.1,8.8.8.8,tcp,,443,46\n", "\ufeffto,port\n2001:db8::1,53\n",
		"# nothing\n\n", "to\n\"8.8.8.8\n", "10.0.0.1,8.8.8.8,udp,1,2,3,4\n", "to,to\n", ",fe80::1%eth0,17,0,65536,64\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadCSV("flows.csv", strings.NewReader(text))
		for _, q := range list {
			if err := q.Validate(); err != nil {
				t.Errorf("%+v: %v", q, err)
			}
		}
		if err != nil && !strings.HasPrefix(err.Error(), "flows.csv:") {
			t.Errorf("an error without its place: %v", err)
		}
	})
}
