// Package peers runs WireGuard tunnels: one wireguard-go device for each
// conf.Tunnel, on a virtual tun.Device that the data path gives it and on UDP
// sockets of our own.
//
// The sockets carry the firewall mark that keeps a tunnel's own datagrams out
// of the router's capture rules; they carry it from before they are bound,
// after every rebind and in both families, and so do the sockets that resolve
// endpoint names.
//
// A tunnel may also travel inside of another one: then a Transport carries its
// datagrams, in process, and it has no sockets at all.
//
// A Device is configured by conf.Tunnel only. Its socket in /var/run/wireguard
// answers "wg show"; "wg set" is refused, because a change made there would be
// undone in silence by the next reload. Methods of a Device may be called from
// any goroutine, but never from inside the tun.Device's Read and Write or from
// Options.Sent or a Transport: wireguard-go holds locks around those.
//
// Private and preshared keys reach the device as UAPI text and the owner of
// the 0600 socket, and nobody else: no log line, error or Status has one.
package peers
