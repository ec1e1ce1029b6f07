package host

import (
	"strings"
	"testing"
)

// A router's firewall that forwards nothing but its own answers.
const foreignFirewall = `
table inet filter {
	set bad { type ipv4_addr; flags interval; elements = { 203.0.113.128/25, 10.66.0.0/16 } }
	chain forward {
		type filter hook forward priority filter; policy drop;
		ip saddr @bad drop
		ct state vmap { invalid : drop, established : accept, related : accept }
		jump services
	}
	chain services {
		iifname "lan0" oifname "wg9" accept
		iifname . oifname { "lan0" . "wg8" } accept
		tcp dport 8443 accept
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state established,related accept
		ct state invalid drop
		iifname "lan0" accept
	}
}
`

func TestForeignFirewall(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.gateway.nft(foreignFirewall)
		before := w.snapshot()
		p := w.startProcess()
		w.set(w.spec())
		w.closed() // it does drop us

		want := []string{
			`nft insert rule inet filter forward 'iifname lan0 oifname turnout0 accept comment turnout'`,
			`nft insert rule inet filter forward 'iifname turnout0 oifname lan0 accept comment turnout'`,
		}
		if !stick {
			want = append(want, `nft insert rule inet filter forward 'iifname turnout0 oifname wan0 accept comment turnout'`)
		}
		var found []Conflict
		w.gateway.must(func() error { found = Conflicts(w.spec()); return nil })
		var got []string
		for _, c := range found {
			got = append(got, c.Command)
			if c.Where != "nft chain inet filter forward" || c.Refuse {
				t.Errorf("conflict %+v", c)
			}
		}
		wantEqual(t, "commands", strings.Join(got, "\n"), strings.Join(want, "\n"))

		// The commands help, as they are written.
		for _, command := range got {
			w.gateway.run("sh", "-c", command)
		}
		w.gateway.must(func() error { found = Conflicts(w.spec()); return nil })
		if len(found) > 0 {
			t.Errorf("conflicts after the commands: %+v", found)
		}
		w.works()
		w.restore(false)
		w.gateway.nft("flush ruleset\n" + foreignFirewall)

		// And so does leave to insert them.
		s := w.spec()
		s.AdjustFirewall = true
		w.set(s)
		w.works()
		if n := strings.Count(w.gateway.run("nft", "list", "chain", "inet", "filter", "forward"), `comment "turnout"`); n != len(want) {
			t.Errorf("%d rules inserted, want %d", n, len(want))
		}
		p.kill() // a crash in between must not make it insert them twice, nor forget them
		p = w.startProcess()
		w.set(s)
		w.restore(false)
		p.kill()
		wantEqual(t, "after Restore", w.snapshot(), before)
	})
}

// Chains that let us pass, in the ways people write them, are no conflict.
func TestFriendlyFirewalls(t *testing.T) {
	for name, text := range map[string]string{
		"accept": `table inet f { chain c { type filter hook forward priority 0; policy accept; ct state invalid drop; }; }`,
		"by prefix": `table ip f { chain c { type filter hook forward priority 0; policy drop
			ip saddr 192.168.77.0/24 accept; ip daddr 192.168.77.0/24 accept; }; }`,
		"by set": `table inet f { set l { type ifname; elements = { "lan0", "turnout0" } }
			chain c { type filter hook forward priority 0; policy drop
			ct state established accept; iifname @l counter jump yes; }
			chain yes { meta l4proto { tcp, udp } accept; }; }`,
		"by vmap and goto": `table inet f { chain c { type filter hook forward priority 0; policy drop
			iifname vmap { "lan0" : goto yes, "turnout0" : goto yes, "wan0" : jump state }; }
			chain state { ct state established,related accept; }
			chain yes { tcp dport != 22 accept; }; }`,
		"by index": `table inet f { chain c { type filter hook forward priority 0; policy drop
			iif "lan0" accept; oif "lan0" accept; iifname "turnout0" accept; }; }`,
		"by range": `table inet f { chain c { type filter hook forward priority 0; policy drop
			tcp dport 1-1023 log accept; tcp sport { 22, 400-500 } limit rate 5/second accept; }; }`,
		"by concatenated ranges": `table inet f { set l { type ipv4_addr . inet_service; flags interval; elements = { 203.0.113.0/24 . 1-1023 } }
			chain c { type filter hook forward priority 0; policy drop
			ip daddr . tcp dport @l accept; ip saddr . tcp sport @l accept; }; }`,
		"another hook": `table inet f { chain c { type filter hook input priority 0; policy drop; }; }`,
		"unmatched":    `table inet f { chain c { type filter hook forward priority 0; ip saddr 10.0.0.0/8 drop; meta l4proto icmp drop; iifname "eth7" reject; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.gateway.nft(text)
			w.gateway.must(func() error {
				for _, c := range Conflicts(w.spec()) {
					t.Errorf("%s: %s; %s", c.Where, c.Why, c.Command)
				}
				return nil
			})
		})
	}
}

func TestUnfriendlyFirewalls(t *testing.T) {
	for name, text := range map[string]string{
		"drop":   `table inet f { chain c { type filter hook forward priority 0; policy drop; }; }`,
		"reject": `table inet f { chain c { type filter hook forward priority 0; iifname "docker0" accept; reject with icmpx admin-prohibited; }; }`,
		"state":  `table ip f { chain c { type filter hook forward priority 0; ct state established,related accept; ct state new iifname "lan0" accept; jump d; }; chain d { drop; }; }`,
		"vmap":   `table ip f { chain c { type filter hook forward priority 0; ct state vmap { new : drop, untracked : drop }; }; }`,
		"prefix": `table inet f { chain c { type filter hook forward priority 0; ip daddr 203.0.113.0/24 drop; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.gateway.nft(text)
			w.gateway.must(func() error {
				found := Conflicts(w.spec())
				if len(found) == 0 || found[0].Command == "" {
					t.Errorf("conflicts: %+v", found)
				}
				for _, c := range found {
					t.Log(c.Where, c.Why, c.Command)
				}
				return nil
			})
		})
	}
}

// iptables-nft's tables get rules that iptables itself can list, made of its own
// extension instead of nft's ct state.
func TestIPTablesChain(t *testing.T) {
	w := newWorld(t, false)
	w.serve()
	w.gateway.nft(`table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }`)
	before := w.snapshot()
	p := w.startProcess()
	s := w.spec()
	var commands []string
	w.gateway.must(func() error {
		for _, c := range Conflicts(s) {
			commands = append(commands, c.Command)
		}
		return nil
	})
	want := `iptables -I FORWARD -i 'wan0' -o 'lan0' -m conntrack --ctstate ESTABLISHED,RELATED -m comment --comment turnout -j ACCEPT`
	if len(commands) != 4 || commands[3] != want {
		t.Errorf("commands %q, want %q as the last of four", commands, want)
	}
	s.AdjustFirewall = true
	w.set(s)
	w.works()
	if chain := w.gateway.run("nft", "list", "chain", "ip", "filter", "FORWARD"); strings.Contains(chain, "ct state") {
		t.Errorf("an expression that iptables cannot read:\n%s", chain)
	}
	w.gateway.must(func() error {
		for _, c := range Conflicts(s) {
			t.Errorf("still in the way: %s", c.Command)
		}
		return nil
	})
	w.restore(false)
	p.kill()
	wantEqual(t, "after Restore", w.snapshot(), before)
}

func TestRuleAndTableConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		ip, where string
		refuse    bool
	}{
		"a mark within our mask":    {"rule add priority 5210 fwmark 0x50/0xff lookup 52", "ip rule with priority 5210", true},
		"our own value, whole":      {"rule add priority 100 fwmark 0x70 lookup 52", "ip rule with priority 100", true},
		"a mask around our direct":  {"rule add priority 100 fwmark 0/0x30 lookup 52", "ip rule with priority 100", true},
		"tailscale":                 {"rule add priority 5210 fwmark 0x80000/0xff0000 lookup main", "", false},
		"wg-quick":                  {"rule add priority 32765 not fwmark 51820 lookup 51820", "", false},
		"a rule among ours":         {"rule add priority 5003 from 10.1.1.1 lookup 52", "ip rule with priority 5003", false},
		"a route in our table":      {"route add 10.5.0.0/16 dev lan0 table 7077", "routing table 7077", true},
		"the same in IPv6":          {"-6 rule add priority 100 fwmark 0x20/0x60 lookup 52", "ip rule with priority 100", true},
		"a rule like one of ours":   {"rule add priority 5003 iif turnout0 lookup main", "", false},
		"one with another selector": {"rule add priority 5003 iif turnout0 from 10.0.0.0/8 lookup main", "ip rule with priority 5003", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.gateway.ip(c.ip)
			before := w.snapshot()
			var found []Conflict
			w.gateway.must(func() error { found = Conflicts(w.spec()); return nil })
			if c.where == "" {
				if len(found) > 0 {
					t.Fatalf("conflicts: %+v", found)
				}
				return
			}
			if len(found) == 0 || found[0].Where != c.where || found[0].Refuse != c.refuse {
				t.Fatalf("conflicts: %+v, want one at %s, refuse %v", found, c.where, c.refuse)
			}
			t.Log(found[0].Where, found[0].Why)
			p := w.startProcess()
			err := w.gateway.do(func() error { _, err := Set(w.spec()); return err })
			if (err != nil) != c.refuse {
				t.Errorf("Set: %v", err)
			}
			w.restore(false)
			p.kill()
			wantEqual(t, "afterwards", w.snapshot(), before)
		})
	}
}

// Only what nft could take for a word of its own language stands in quotes.
func TestNftName(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "eth0", "enp3s0.100": "enp3s0.100", "br-lan0": "br-lan0",
		"ip6": `"ip6"`, "vlan": `"vlan"`, "4g0": `"4g0"`, "eth0@x": `"eth0@x"`,
	} {
		if got := nftName(name); got != want {
			t.Errorf("%s is written %s, want %s", name, got, want)
		}
	}
}
