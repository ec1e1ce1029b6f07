package tests

import (
	"fmt"
	"strconv"
	"testing"

	"turnout/tests/netlab"
)

// Both layouts work whatever the distribution's reverse-path filter is.
func TestLayoutsAndReversePathFilter(t *testing.T) {
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		for filter := range 3 {
			t.Run(fmt.Sprintf("%v, rp_filter=%d", layout, filter), func(t *testing.T) {
				t.Parallel()
				testWiring(t, layout, strconv.Itoa(filter))
			})
		}
	}
}

func testWiring(t *testing.T, layout netlab.Layout, filter string) {
	w := world{
		Options: netlab.Options{Layout: layout, Hosts: 2},
		Head:    "[[rule]]\nto = [\"198.51.100.4\"]\nvia = \"direct\"\n",
		Before: func(t *testing.T, l *netlab.Lab) {
			for _, dev := range []string{"all", "default", netlab.UplinkInterface, l.LANInterface()} {
				if err := l.Gateway.Sysctl("net.ipv4.conf."+dev+".rp_filter", filter); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	r := w.build(t)
	before := snapshot(t, r.Gateway.Node)
	r.up(t)
	watch := r.watch(t)
	if err := all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, "sweden") }); err != nil {
		t.Error(err)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
	if err := all(everyProtocol(3), func(f netlab.Flow) error { return r.arrives(r.Hosts[1], f, netlab.Direct) }); err != nil {
		t.Error(err)
	}
	down(t, r)
	same(t, "after down", before, snapshot(t, r.Gateway.Node))
}
