package packet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"turnout/classifier/packet"
	"turnout/tests/hostile"
)

// talks are the conversation of the tests as either side sees it.
func talks() [hostile.Sides]hostile.Talk {
	addr := netip.MustParseAddr
	lan := hostile.Talk{
		Side: hostile.LAN, Src: addr("192.168.77.10"), Dst: addr("198.51.100.1"), Src6: addr("fd00:77::10"), Dst6: addr("2001:db8:100::1"),
		UDP: hostile.Ports{Src: 5000, Dst: 53}, TCP: hostile.Ports{Src: 5002, Dst: 80}, Opening: hostile.Ports{Src: 5001, Dst: 80},
		Echo: 77, Seq: 1000, Ack: 2000,
	}
	tunnel := lan
	tunnel.Side, tunnel.Src, tunnel.Dst = hostile.Tunnel, lan.Dst, lan.Src
	tunnel.Src6, tunnel.Dst6 = lan.Dst6, lan.Src6
	return [hostile.Sides]hostile.Talk{lan, tunnel}
}

// TestEveryClass holds Decode and VerifyHeader to the classes of malformed
// packets: what is malformed they refuse, by the reason that is counted in the
// end, and no policy or state has to know of it. The rest they let pass.
func TestEveryClass(t *testing.T) {
	for _, c := range hostile.Cases() {
		for side, result := range c.Want {
			if result.Outcome == hostile.Nowhere || c.Header.CsumStart != 0 {
				continue
			}
			t.Run(fmt.Sprintf("M%d/%v/%s", c.Class, hostile.Side(side), c.Name), func(t *testing.T) {
				want := result.Reason
				if want > packet.BadExtension {
					want = packet.OK
				}
				for _, b := range c.Packets(talks()[side]) {
					var v packet.View
					got := v.Decode(b)
					// The kernel verifies what comes from the LAN but for ICMP.
					if got == packet.OK && (side == int(hostile.Tunnel) || v.Proto == packet.ICMP) {
						got = packet.VerifyHeader(b, &v)
					}
					if got != want {
						t.Errorf("%v, want %v", got, want)
					}
				}
			})
		}
	}
}
