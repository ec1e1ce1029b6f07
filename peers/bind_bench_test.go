package peers

import (
	"fmt"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
)

// BenchmarkBatch takes a batch through the loopback interface, by our bind and
// by wireguard-go's own; ns/op is for one packet.
func BenchmarkBatch(b *testing.B) {
	for _, c := range []struct {
		name string
		make func() conn.Bind
	}{
		{"ours", func() conn.Bind { return newBind(aCommon(), 0, bothWays) }},
		{"ours, plain", func() conn.Bind { return newBind(aCommon(), 0, offload{}) }},
		{"wireguard-go", conn.NewStdNetBind},
	} {
		for _, size := range []int{128, 1452} {
			for _, batch := range []int{1, 16, 128} {
				b.Run(fmt.Sprintf("%s/%dB/%d", c.name, size, batch), func(b *testing.B) {
					benchmarkBatch(b, c.make(), c.make(), size, batch)
				})
			}
		}
	}
}

func benchmarkBatch(b *testing.B, from, to conn.Bind, size, batch int) {
	if _, _, err := from.Open(0); err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	fns, port, err := to.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	at, err := from.ParseEndpoint(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	r := newPlug(fns[0])
	pkts := make([][]byte, batch)
	for i := range pkts {
		// Room behind each, as in wireguard-go's own buffers.
		pkts[i] = make([]byte, size, 1<<16)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%batch != 0 {
			continue
		}
		if err := from.Send(pkts, at); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < batch; {
			n, err := r.receive()
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
	}
}
