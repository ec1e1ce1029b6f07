// Package host makes true of the operating system what the data path relies
// on, and undoes it: the TUN device's address and length of queue, policy
// rules, the routing table behind them, the nftables table "turnout" and a few
// sysctls. It speaks netlink and writes /proc/sys; it runs no command.
//
//	       ┌──────── rule E: iif LAN ─► table T ─► turnout0 ─► the process
//	LAN ───┤                                                     │
//	       └──────── rule D: LAN prefixes ─► main                │
//	uplink ◄── masquerade ◄── rule C: iif turnout0 ─► main ◄─────┘ (direct, and back to the LAN)
//
// Conversations in which the gateway's own LAN address takes part pass the TUN
// device as the process's, by the address Inside: rule F leads everything to it
// into table T, conntrack translates on the LAN's side, and no wire sees it. All
// of this is there only for a Spec that asks for it.
//
// Two layers each keep the LAN closed alone when the process is gone: the
// guard, an nft chain that lets LAN packets into the TUN device only, and the
// unreachable default route below the TUN device's own.
//
// Set is idempotent and adopts what a killed process left. Before anything is
// changed, a state file in RunDir records what was there and what is added, so
// that Restore undoes it exactly at any later time, without the daemon. Foreign
// rules are left alone; Conflicts names those that stand in the way.
//
// Calls act on the network namespace of the calling thread. They must not run
// concurrently: the caller holds the daemon's lock.
package host
