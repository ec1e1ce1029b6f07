package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/nat"
)

// flowFile is the flow table in the run directory. It outlives the process, so
// that established conversations outlive a crash and a restart.
const flowFile = "flows"

// openFlows opens the flow table, with the conversations of the run before as
// far as they fit cfg. Where there can be no file the router starts all the
// same, with a table that ends with it.
func openFlows(cfg *conf.Config, o routerOptions) (*nat.Table, nat.Adopted) {
	limits := nat.Options{
		MaxFlows: cfg.Limits.Flows, MaxPerHost: cfg.Limits.FlowsPerHost, NewPerHost: cfg.Limits.NewFlowsPerHost,
	}
	f := nat.File{Path: filepath.Join(o.RunDir, flowFile)}
	for i := range cfg.Tunnels {
		own4, own6 := ownAddresses(&cfg.Tunnels[i])
		f.Exits = append(f.Exits, nat.ExitName{
			Exit: uint16(tunnelExit(i)), Name: cfg.Tunnels[i].Name, Addr4: own4, Addr6: own6,
		})
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		f.Boot = strings.TrimSpace(string(boot))
		var table *nat.Table
		var kept nat.Adopted
		if table, kept, err = nat.OpenFile(limits, f, dataplane.Now()); err == nil {
			return table, kept
		}
	}
	o.Log.Warn("the flow table has no file: conversations will not outlive the router", "file", f.Path, "err", err)
	return nat.New(limits), nat.Adopted{}
}

// greet says what was kept of the run before, and has tunnels shake hands before
// the LAN speaks. Far ends that were talking to that run do not know where this
// one is, and who only downloads may have nothing to say; far hosts that may
// call need a way, too.
func (r *router) greet(cfg *conf.Config, kept nat.Adopted) {
	for i, t := range r.tunnels {
		if kept.Flows > 0 || mayBeCalled(cfg, i) {
			t.device.Handshake()
		}
	}

	if kept.Ignored != "" {
		r.opt.Log.Warn("the flows of the run before are not used", "why", kept.Ignored)
	}
	if kept.Flows == 0 {
		return
	}
	r.opt.Log.Info("adopted the flows of the run before", "flows", kept.Flows, "expired", kept.Expired,
		"without_tunnel", kept.Homeless, "damaged", kept.Damaged, "no_room", kept.Crowded)
}

// mayBeCalled reports whether far hosts of the i-th tunnel may start something.
func mayBeCalled(cfg *conf.Config, i int) bool {
	return len(cfg.Tunnels[i].Accept) > 0 || slices.ContainsFunc(cfg.Forwards, func(f conf.Forward) bool {
		return f.Tunnel == i && !f.FromLAN
	})
}
