package packet_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"turnout/classifier/packet"
	"turnout/tests/hostile"
)

// TestMutated holds the decoder to what the fuzz targets want of it, on random
// changes to packets of every class. TURNOUT_MUTATIONS says on how many.
func TestMutated(t *testing.T) {
	many := 500_000
	if s := os.Getenv("TURNOUT_MUTATIONS"); s != "" {
		var err error
		if many, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	var pkts [][]byte
	for _, talk := range talks() {
		for _, seed := range hostile.Seeds() {
			pkts = append(pkts, seed(talk))
		}
	}
	const workers = 4
	r := packet.NewRandom(t)
	sums := make(chan mutated)
	for n := range workers {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(n)))
		go func() { sums <- mutate(t, own, pkts, many/workers) }()
	}
	var all mutated
	for range workers {
		m := <-sums
		for why, n := range m.reasons {
			all.reasons[why] += n
		}
		all.errors += m.errors
	}
	for why, n := range all.reasons {
		if n > 0 {
			t.Logf("%10d %v", n, packet.Reason(why))
		}
	}
	t.Logf("%10d ICMP errors", all.errors)
	if all.reasons[packet.OK] < many/20 || all.errors < many/100 {
		t.Error("hardly anything decodes: the test proves little")
	}
}

// mutated counts what the decoder said, and how often it saw an ICMP error.
type mutated struct {
	reasons [packet.NumReasons]int
	errors  int
}

// mutate tries as many mutations of pkts, or until one fails.
func mutate(t *testing.T, r *rand.Rand, pkts [][]byte, many int) (m mutated) {
	buf, same := make([]byte, 0, 4096), make([]byte, 0, 4096)
	for range many {
		b := hostile.Mutate(buf, pkts[r.IntN(len(pkts))], r.Uint32)
		same = append(same[:0], b...)
		var v packet.View
		m.reasons[v.Decode(b)]++
		wrong := decode(b)
		if wrong == "" && v.IsError {
			m.errors++
			wrong = embedded(append(b[:0], same...))
		}
		if wrong != "" {
			t.Errorf("%s: % x", wrong, same)
			break
		}
	}
	return m
}
