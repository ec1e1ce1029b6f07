package main

import (
	"context"
	"fmt"
	"path/filepath"

	"turnout/classifier"
	"turnout/cmd/internal/control"
	"turnout/conf"
)

const reloadHelp = `Reads the configuration again, FILE or the one in force, and swaps the policy: rules,
sets, routes, AllowedIPs, groups, default. Nothing is interrupted, and with anything
wrong all stays as it was. Flows keep their exit; with --repin each asks the new
policy, and those that get another exit begin anew. Changed tunnels, LAN, uplink or
[host] settings are refused: they need turnout down and up. SIGHUP to the running
router is the same without FILE and --repin.`

func reload(e *env, args []string) int {
	fs := newFlags(e, "reload")
	var runDir string
	fs.runDirFlag(&runDir)
	repin := fs.Bool("repin", false, "have flows under way ask the new policy too")
	asJSON := fs.Bool("json", false, "print one JSON object")
	files, err := fs.parse(args, 1)
	if err != nil {
		return fs.failed(err)
	}
	q := control.ReloadRequest{Repin: *repin}
	if len(files) > 0 {
		if q.File, err = filepath.Abs(files[0]); err != nil { // the daemon may stand elsewhere
			return e.fail("reload", err)
		}
	}
	done, err := control.NewClient(runDir).Reload(context.Background(), q)
	if err != nil {
		return e.fail("reload", err)
	}
	if *asJSON {
		return e.printJSON(done)
	}
	for _, w := range done.Warnings {
		fmt.Fprintln(e.stderr, "warning: "+w)
	}
	kept := "keep their exits"
	if *repin {
		kept = "ask it at their next packet"
	}
	fmt.Fprintf(e.stdout, "%s is in force: %s of policy; %s %s\n", done.File, count(done.Lines, "line"), count(done.Flows, "flow"), kept)
	return exitOK
}

// Reload reads the configuration again, as up did, and changes to its policy.
func (d *daemon) Reload(q control.ReloadRequest) (control.Reloaded, error) {
	d.changes.Lock()
	defer d.changes.Unlock()
	file := q.File
	if file == "" {
		file = d.cfg.Load().File
	}
	cfg, err := d.read(file)
	if err == nil {
		err = d.gateway.Reload(cfg, q.Repin)
	}
	if err != nil {
		d.log.Error("reload refused; the policy is as before", "file", file, "err", err)
		return control.Reloaded{}, err
	}
	d.cfg.Store(cfg)
	done := control.Reloaded{File: file, Lines: len(cfg.Policy.Entries), Flows: d.gateway.Status().Flows, Warnings: []string{}}
	for _, w := range cfg.Warnings {
		done.Warnings = append(done.Warnings, w.Error())
	}
	d.log.Info("reloaded", "file", file, "lines", done.Lines, "repin", q.Repin, "warnings", len(done.Warnings))
	return done, nil
}

// Verification before a table is published: about 1,000 packets at the corners
// of the policy, through the table and through the policy as written.
const verifyPackets = 1000

// Reload changes to the policy of cfg, and to what stands beside it: forwards,
// accepts, full cones. Tunnels are widened before it can name
// them and stay so: flows of the policy before may still be in them.
func (r *router) Reload(cfg *conf.Config, repin bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.cfg.Load()
	if err := sameButPolicy(old, cfg); err != nil {
		return err
	}
	table, err := classifier.CompileTags(cfg.Policy, r.engine.Plan().Table.Tags())
	if err != nil {
		return fmt.Errorf("compiling the policy of %s: %w", cfg.File, err)
	}
	if err := table.Verify(verifyPackets, r.reloads.Add(1)); err != nil {
		return err
	}
	for i, t := range r.tunnels {
		was, now := &old.Tunnels[i], &cfg.Tunnels[i]
		now.Widened4, now.Widened6 = now.Widened4 || was.Widened4, now.Widened6 || was.Widened6
		if now.Widened4 == was.Widened4 && now.Widened6 == was.Widened6 {
			continue
		}
		if err := t.device.Apply(*now); err != nil {
			return fmt.Errorf("widening for the new policy: %w", err)
		}
	}
	if !sameInside(old, cfg, r.around) {
		if _, err := r.setHost(cfg, r.around); err != nil {
			return fmt.Errorf("preparing the host for other forwards: %w", err)
		}
	}
	r.reserve(cfg)
	plan := r.plan(cfg, table, r.around)
	if repin {
		r.engine.Repin(plan)
	} else {
		r.engine.Swap(plan)
	}
	r.cfg.Store(cfg)
	return nil
}
