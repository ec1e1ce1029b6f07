// Package tests runs the real turnout program in network namespaces, against
// standalone wireguard-go servers that the wg tool configures. The drawing is in
// package netlab, which plays the world.
//
// Each file is one scenario. A test needs root or user namespaces, /dev/net/tun
// and the tools that it names with need; where one is missing it is skipped, or
// fails if the environment says CI=true.
//
//	TURNOUT_BULK=1GiB  bytes of each bulk transfer, 256MiB by default
//	TURNOUT_RACE=1     build the program with the race detector
package tests
