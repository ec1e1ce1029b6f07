package tests

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// A blaster sends small datagrams from LAN hosts as fast as they go, more than
// the router takes.
type blaster struct {
	*run
	raw  []*netlab.Raw // of each host
	next int           // the first flow that was not yet there; each is a pair of ports
}

// blast sends for a time, all in one flow of each host or each datagram in a new
// one, and returns how many a second it sent, and the router gave to the tunnel.
func (b *blaster) blast(t *testing.T, d time.Duration, fresh bool) (offered, taken float64) {
	t.Helper()
	before, begun := b.sent(t), time.Now()
	counts, share := make([]int, len(b.raw)), allPorts/len(b.raw) // of the ports, which all can have at once
	var done sync.WaitGroup
	for i := range b.raw {
		done.Go(func() {
			// Without a checksum, so that no device on the way joins datagrams of one flow.
			pkt := netlab.Datagram(netip.AddrPortFrom(b.Hosts[i].Addr, 1000), netip.AddrPortFrom(netlab.Internet[0], 1000), "a small datagram")
			for time.Since(begun) < d {
				for range 64 {
					if n := b.next + counts[i]; fresh {
						put16(pkt[20:], 1024+uint16(i*share+n%share))
						put16(pkt[22:], 1024+uint16(n/share))
					}
					b.raw[i].Send(pkt) // what the host's own queue does not take is lost, as elsewhere
					counts[i]++
				}
			}
		})
	}
	done.Wait()
	took := time.Since(begun).Seconds()
	time.Sleep(200 * time.Millisecond) // what is under way arrives
	if fresh {
		b.next += slices.Max(counts)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took, float64(b.sent(t)-before) / took
}

func put16(b []byte, v uint16) { b[0], b[1] = byte(v>>8), byte(v) }

// sent is how many packets the tunnel took so far.
func (b *blaster) sent(t *testing.T) uint64 {
	t.Helper()
	var s struct {
		Exits []struct {
			Name    string
			Packets uint64
		}
	}
	askJSON(t, b.run, &s, "status", "--json", "--run-dir", b.RunDir())
	for _, x := range s.Exits {
		if x.Name == "sweden" {
			return x.Packets
		}
	}
	t.Fatal("status does not know the tunnel")
	return 0
}

// A datagram that begins a flow costs hardly more than one that belongs to one:
// end to end, new flows come at no less than 0.8 of the rate of packets of one
// flow. TURNOUT_RATE=strict holds the median of five long rounds to that. A plain
// run shares its machine with others: it allows 0.4, and tries three times.
func TestNewFlowRate(t *testing.T) {
	need(t, "nft")
	tries, rounds, d, least := 3, 3, 300*time.Millisecond, 0.4
	if os.Getenv("TURNOUT_RATE") == "strict" {
		tries, rounds, d, least = 1, 5, 2*time.Second, 0.8
	}
	r := world{
		Options: netlab.Options{Hosts: 2, Servers: []string{"sweden"}},
		Head:    "[limits]\nflows = 4000000\nflows_per_host = 4000000\n",
	}.up(t)
	// The far end does nothing with what it gets, not even refuse it.
	nft(t, r.Servers[0].Node, "table ip deaf { chain c { type filter hook prerouting priority raw; iifname wg0 udp sport >= 1000 drop; }; }")
	b := &blaster{run: r}
	for _, h := range r.Hosts {
		raw, err := h.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		b.raw = append(b.raw, raw)
	}
	b.blast(t, 200*time.Millisecond, false) // the tunnel is up
	for range tries {
		if b.compare(t, rounds, d) >= least {
			return
		}
	}
	if os.Getenv("TURNOUT_RACE") != "1" {
		t.Errorf("new flows come at less than %.1f of the rate of packets", least)
	}
}

// compare plays rounds of both kinds in turn, and returns the ratio of the
// median rates.
func (b *blaster) compare(t *testing.T, rounds int, d time.Duration) float64 {
	t.Helper()
	var one, fresh []float64
	for range rounds {
		offered, packets := b.blast(t, d, false)
		had := flowsOf(t, b.run)
		offeredNew, flows := b.blast(t, d, true)
		made := flowsOf(t, b.run) - had
		one, fresh = append(one, packets), append(fresh, flows)
		t.Logf("one flow: %.0f of %.0f packets/s; new flows: %.0f of %.0f/s, %d in the table; ratio %.2f", packets, offered, flows, offeredNew, made, flows/packets)
		if float64(made) < flows*d.Seconds() {
			t.Errorf("%d flows are made by %.0f packets: they are not new", made, flows*d.Seconds())
		}
	}
	slices.Sort(one)
	slices.Sort(fresh)
	ratio := fresh[rounds/2] / one[rounds/2]
	t.Logf("medians: one flow %.0f packets/s, new flows %.0f/s, ratio %.2f", one[rounds/2], fresh[rounds/2], ratio)
	return ratio
}
