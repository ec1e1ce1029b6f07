// Package dataplane moves packets between the LAN's TUN device and the
// tunnels.
//
//	LAN ─► TUN ─► outbound.go: decode, flow or policy, NAT ─► ring.go ─► Tunnel.Read ─► WireGuard
//	LAN ◄─ TUN ◄─ coalesce    ◄─  inbound.go: check, NAT back, decode ◄─ Tunnel.Write ◄─ WireGuard
//
// An Engine owns the TUN device and the one goroutine that reads it, the
// dispatcher. A Tunnel is the virtual tun.Device that a WireGuard device reads
// from and writes to. What the dispatcher decides by is a Plan: immutable,
// behind one atomic pointer, loaded once per batch. A Conduit is a UDP port
// inside of a tunnel, by which another tunnel's device sends and receives.
//
// No packet allocates, no packet makes an error value, and nobody waits for a
// slow tunnel: a full ring drops that tunnel's packets only. What is not
// forwarded is counted under its packet.Reason.
package dataplane
