package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"turnout/conf"
)

// sameButPolicy returns an error that lists what differs between the
// configuration in force and another one, policy and hooks aside. What far hosts
// may start is policy too: forwards, accept and full_cone.
func sameButPolicy(old, cfg *conf.Config) error {
	var list []string
	list = append(list, fields("[lan]", old.LAN, cfg.LAN)...)
	list = append(list, fields("[uplink]", old.Uplink, cfg.Uplink)...)
	list = append(list, fields("[host]", old.Host, cfg.Host)...)
	list = append(list, fields("[limits]", old.Limits, cfg.Limits)...)
	list = append(list, tunnelChanges(old.Tunnels, cfg.Tunnels)...)
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%s changes more than policy, which needs turnout down and up: %s", cfg.File, strings.Join(list, "; "))
}

func tunnelChanges(old, now []conf.Tunnel) (list []string) {
	names := func(tunnels []conf.Tunnel) (out []string) {
		for _, t := range tunnels {
			out = append(out, t.Name)
		}
		return out
	}
	had, has := names(old), names(now)
	for _, n := range has {
		if !slices.Contains(had, n) {
			list = append(list, fmt.Sprintf("tunnel %s is new", n))
		}
	}
	for _, n := range had {
		if !slices.Contains(has, n) {
			list = append(list, fmt.Sprintf("tunnel %s is gone", n))
		}
	}
	switch {
	case len(list) > 0:
		return list
	case !slices.Equal(had, has):
		return []string{"the tunnels stand in another order"}
	}
	for i := range now {
		list = append(list, fields("tunnel "+has[i], old[i], now[i])...)
		list = append(list, peerChanges(has[i], old[i].Peers, now[i].Peers)...)
	}
	return list
}

func peerChanges(tunnel string, old, now []conf.Peer) (list []string) {
	if !slices.EqualFunc(old, now, func(a, b conf.Peer) bool { return a.PublicKey == b.PublicKey }) {
		return []string{fmt.Sprintf("tunnel %s has other peers", tunnel)}
	}
	for i := range now {
		list = append(list, fields(fmt.Sprintf("peer %s of tunnel %s", now[i].PublicKey, tunnel), old[i], now[i])...)
	}
	return list
}

// notCompared are fields that say where something stands or what it is called,
// that are policy or brought about by it, or that have their own comparison.
var notCompared = []string{"Pos", "Name", "Accept", "FullCone", "Widened4", "Widened6", "ForeignHooks", "Peers"}

// fields names the fields in which two structures differ; never their values,
// which may be keys.
func fields(what string, old, now any) (list []string) {
	a, b := reflect.ValueOf(old), reflect.ValueOf(now)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if !slices.Contains(notCompared, name) && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			list = append(list, fmt.Sprintf("%s: %s differs", what, name))
		}
	}
	return list
}
