// Package conf turns text into an immutable Config, or into errors that say
// where. The text is a turnout.toml with the wg-quick files that it names, or
// one wg-quick file with WrapGuard's Route lines (package conf/wgquick).
//
// Load reports every error of every file at once, each as one line:
// "file:line: what was read; what is allowed". What is legal but surprising
// becomes a warning in Config.Warnings.
//
// The order is: decode loosely (index.go, table.go), put wg-quick files and
// inline tunnels into one form (section.go), split files into tunnels
// (split.go), check each value (tunnel.go, peer.go, values.go, rules.go,
// groups.go, host.go, limits.go), build the policy (policy.go), chain tunnels
// (chain.go), place forwards (forward.go, listener.go) and what tunnels accept
// (accept.go), widen tunnels (widen.go, coverage.go), warn (warn.go). Sets are
// read before rules (sets.go).
//
// Load touches nothing but the files that the configuration names; it looks at
// no interface and resolves no name. Only with ForUp does it run
// private_key_command. Key material leaves a Config through PrivateKey.Hex
// alone; no error, warning, String, JSON or fmt verb shows it. A Config may be
// read by any number of goroutines.
package conf
