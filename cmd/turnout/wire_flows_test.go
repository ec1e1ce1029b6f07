package main

import (
	"net/netip"
	"reflect"
	"testing"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/nat"
)

// TestFlowDocuments puts a flow of each sort in words.
func TestFlowDocuments(t *testing.T) {
	inConf(t)
	cfg, err := load("home.toml", new(options), conf.ForExplain)
	if err != nil {
		t.Fatal(err)
	}
	pos := func(n int) classifier.Pos { return classifier.Pos{File: "x.toml", Line: n} }
	cfg.Forwards = []conf.Forward{{Text: "other", Pos: pos(1)}, {Name: "page", Text: "forward", Pos: pos(2)}}
	cfg.Tunnels[0].Accept = []conf.Accept{{Text: "accept of sweden", Pos: pos(3)}}
	cfg.Tunnels[1].Accept = []conf.Accept{{Text: "first of office", Pos: pos(4)}, {Text: "second of office", Pos: pos(5)}}
	table, err := classifier.Compile(cfg.Policy)
	if err != nil {
		t.Fatal(err)
	}
	plan := dataplane.NewPlan(table)
	sweden, office := uint16(tunnelExit(0)), uint16(tunnelExit(1))
	a, n := func(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }, netip.MustParseAddr
	entry := func(by classifier.By) int32 { // the last line of a kind
		for i := len(cfg.Policy.Entries) - 1; ; i-- {
			if cfg.Policy.Entries[i].By == by {
				return int32(i)
			}
		}
	}
	flow := func(pin nat.Pin, proto uint8, port, remotePort uint16) nat.Flow {
		return nat.Flow{Pin: pin, LAN: a("192.168.77.10"), LANPort: port, Remote: a("198.51.100.1"), RemotePort: remotePort, Proto: proto, Port: 4000, State: nat.UDPTwoWay}
	}
	changed := func(f nat.Flow, change func(*nat.Flow)) nat.Flow { change(&f); return f }
	doc := func(exit, tunnel, proto string, port, to uint16, by, text string) control.Flow {
		d := control.Flow{Exit: exit, Tunnel: tunnel, Near: "lan", Proto: proto, From: n("192.168.77.10"), FromPort: port, To: n("198.51.100.1"), Port: to, State: "udp-two-way", By: by}
		if text != "" {
			d.Match = &control.Line{Text: text}
		}
		return d
	}
	with := func(d control.Flow, change func(*control.Flow)) control.Flow { change(&d); return d }
	rule := cfg.Policy.Entries[entry(classifier.ByRule)].Text // that names the group
	for name, c := range map[string]struct {
		flow nat.Flow
		want control.Flow
	}{
		"a group's member": {
			flow(nat.Pin{Exit: sweden, Entry: entry(classifier.ByRule), By: uint8(classifier.ByRule), Masquerade: true, Addr: a("10.66.0.2")}, packet.TCP, 5000, 443),
			with(doc("tunnel", "sweden", "tcp", 5000, 443, "rule", rule), func(d *control.Flow) {
				d.Group, d.Mapped, d.MappedPort = "stream", n("10.66.0.2"), 4000
			})},
		"direct": {
			flow(nat.Pin{Exit: nat.Direct, Entry: entry(classifier.ByDefault), By: uint8(classifier.ByDefault)}, packet.UDP, 5000, 53),
			doc("direct", "", "udp", 5000, 53, "default", `default = "direct"`)},
		"a ping": { // RemotePort says who asks: it is no port
			flow(nat.Pin{Exit: office, Entry: entry(classifier.ByAllowedIPs), By: uint8(classifier.ByAllowedIPs), Masquerade: true, Addr: a("10.66.0.3")}, packet.ICMP, 77, 1),
			with(doc("tunnel", "office", "icmp", 77, 0, "allowed-ips", "AllowedIPs = 10.0.0.0/8"), func(d *control.Flow) {
				d.Mapped, d.MappedPort = n("10.66.0.3"), 4000
			})},
		"forwarded": {
			changed(flow(nat.Pin{Exit: sweden, Entry: 1, By: uint8(classifier.ByForward), Masquerade: true, Addr: a("10.66.0.2")}, packet.TCP, 80, 40000),
				func(f *nat.Flow) { f.Inbound = true }),
			with(doc("tunnel", "sweden", "tcp", 80, 40000, "forward", "forward"), func(d *control.Flow) {
				d.Inbound, d.Mapped, d.MappedPort = true, n("10.66.0.2"), 4000
			})},
		"a hairpin": {
			flow(nat.Pin{Exit: nat.Hairpin, Pool: sweden, Entry: 0, By: uint8(classifier.ByForward), Masquerade: true, Addr: a("10.66.0.2"), Far: a("192.168.77.11"), FarPort: 80}, packet.TCP, 5000, 8080),
			with(doc("hairpin", "sweden", "tcp", 5000, 8080, "forward", "other"), func(d *control.Flow) {
				d.Mapped, d.MappedPort, d.Far, d.FarPort = n("10.66.0.2"), 4000, n("192.168.77.11"), 80
			})},
		"accepted": {
			changed(flow(nat.Pin{Exit: office, Entry: 1, By: uint8(classifier.ByAccept)}, packet.TCP, 22, 40000),
				func(f *nat.Flow) { f.Inbound = true }),
			with(doc("tunnel", "office", "tcp", 22, 40000, "accept", "second of office"), func(d *control.Flow) { d.Inbound = true })},
		"relayed": { // by the line of the tunnel that it came from
			changed(flow(nat.Pin{Exit: sweden, Entry: 1, By: uint8(classifier.ByAccept)}, 47, 0, 0), func(f *nat.Flow) { f.Near = office }),
			with(doc("tunnel", "sweden", "47", 0, 0, "accept", "second of office"), func(d *control.Flow) {
				d.Near, d.NearTunnel = "tunnel", "office"
			})},
		"of an earlier policy": {
			flow(nat.Pin{Exit: sweden, Entry: 1, By: uint8(classifier.ByRoute), Generation: 255}, packet.UDP, 5000, 53),
			with(doc("tunnel", "sweden", "udp", 5000, 53, "route", ""), func(d *control.Flow) { d.Earlier = true })},
		"of the process before": {
			flow(nat.Pin{Exit: sweden, Entry: -1}, packet.UDP, 5000, 53),
			with(doc("tunnel", "sweden", "udp", 5000, 53, "", ""), func(d *control.Flow) { d.Earlier = true })},
	} {
		now := dataplane.Now()
		c.flow.StartedAt, c.flow.TouchedAt = now-1000, now-100
		var w flowWriter
		got := w.document(plan, cfg, &c.flow)
		if got.Age < 1000 || got.Age > 1060 || got.Idle < 100 || got.Idle > 160 || got.Idle+got.Expires != 300 {
			t.Errorf("%s: age %d, idle %d, expires %d", name, got.Age, got.Idle, got.Expires)
		}
		got.Age, got.Idle, got.Expires = 0, 0, 0
		if got.Match != nil {
			got.Match = &control.Line{Text: got.Match.Text}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v %+v\nwant %+v %+v", name, got, got.Match, c.want, c.want.Match)
		}
		// While a reload goes on, lines are not taken from the wrong file.
		other := *cfg
		other.Policy = new(classifier.Policy)
		if d := w.document(plan, &other, &c.flow); !d.Earlier || d.Match != nil {
			t.Errorf("%s: in the middle of a reload it names %+v", name, d.Match)
		}
	}
}

// TestFlowTimesAreNeverNegative: the table's clock may be read before ours.
func TestFlowTimesAreNeverNegative(t *testing.T) {
	now := dataplane.Now()
	var d control.Flow
	times(&d, &nat.Flow{State: nat.ICMPQuery, StartedAt: now + 50, TouchedAt: now + 50})
	if d.Age != 0 || d.Idle != 0 || d.Expires != 60 {
		t.Errorf("%+v", d)
	}
	times(&d, &nat.Flow{State: nat.ICMPQuery, StartedAt: now - 90, TouchedAt: now - 90})
	if d.Expires != 0 {
		t.Errorf("%+v", d)
	}
}
