package main

import "runtime/debug"

// frugal makes the collector run more often until restore is called. Reading a
// policy of 100,000 rules leaves ten times its size in garbage, and a gateway
// that takes 450 MiB for a moment may not have them; the price is half a second.
func frugal() (restore func()) {
	before := debug.SetGCPercent(40)
	return func() { debug.SetGCPercent(before) }
}
