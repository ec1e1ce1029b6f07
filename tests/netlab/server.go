package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// WireGuardPort is the UDP port on which every server listens.
const WireGuardPort = 51820

const wgDevice = "wg0"

// A Server is a standalone WireGuard server, with the internet behind it.
type Server struct {
	Far
	Name     string
	Endpoint netip.AddrPort // outside the tunnel
	Address  netip.Addr     // inside the tunnel: the server's end
	Client   netip.Addr     // inside the tunnel: the gateway's end
	Key      Key            // the server's
	// ClientKey is the gateway's key for this tunnel.
	ClientKey Key

	index  int
	beyond *Node
}

// newServer numbers its networks by i, from 1.
func newServer(i int, name string) *Server {
	return &Server{
		Name: name, index: i,
		Endpoint:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(4*i + 2)}), WireGuardPort),
		Address:   netip.AddrFrom4([4]byte{10, 81, byte(i), 1}),
		Client:    netip.AddrFrom4([4]byte{10, 81, byte(i), 2}),
		Key:       newKey(),
		ClientKey: newKey(),
	}
}

func (l *Lab) startServers() error {
	errs := make(chan error)
	for _, s := range l.Servers {
		go func() { errs <- l.startServer(s) }()
	}
	var first error
	for range l.Servers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// startServer cables a server to the router and brings its tunnel and services up.
func (l *Lab) startServer(s *Server) error {
	dev := fmt.Sprintf("link%d", s.index)
	up := s.Endpoint.Addr().Prev() // the router's end of the /30
	if err := Cable(s.Node, "eth0", l.Router.Node, dev); err != nil {
		return err
	}
	if err := l.Router.Address(dev, netip.PrefixFrom(up, 30)); err != nil {
		return err
	}
	if err := s.Node.Address("eth0", netip.PrefixFrom(s.Endpoint.Addr(), 30)); err != nil {
		return err
	}
	if err := s.Route(defaultRoute, up, "eth0"); err != nil {
		return err
	}
	if err := l.startWireGuard(s); err != nil {
		return fmt.Errorf("server %s: %w", s.Name, err)
	}
	if err := s.serve(s.Name, l.Options.Ports); err != nil {
		return err
	}
	if l.Options.Beyond {
		return s.wireBeyond()
	}
	return nil
}

func (l *Lab) startWireGuard(s *Server) error {
	if err := l.wireguard(s.Node, wgDevice); err != nil {
		return err
	}
	configure := l.Options.Configure
	if configure == nil {
		configure = (*Server).ConfigureUAPI
	}
	if err := configure(s); err != nil {
		return err
	}
	if l.Options.LANRoute {
		if err := s.allow(LAN); err != nil {
			return err
		}
	}
	if err := s.Node.Address(wgDevice, netip.PrefixFrom(s.Address, 24)); err != nil {
		return err
	}
	if err := s.MTU(wgDevice, 1420); err != nil {
		return err
	}
	if err := s.Up(wgDevice); err != nil {
		return err
	}
	if l.Options.LANRoute {
		return s.Route(LAN, netip.Addr{}, wgDevice)
	}
	return nil
}

// ConfigureUAPI gives the device its keys without any tool.
func (s *Server) ConfigureUAPI() error {
	return s.uapi(wgDevice, fmt.Sprintf("set=1\nprivate_key=%s\nlisten_port=%d\npublic_key=%s\nallowed_ip=%s\n\n",
		s.Key.privateHex(), WireGuardPort, s.ClientKey.publicHex(), host(s.Client)))
}

// SetConf returns the same for `wg setconf`.
func (s *Server) SetConf() string {
	return fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = %d\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\n",
		s.Key.Private(), WireGuardPort, s.ClientKey.Public(), host(s.Client))
}

func (s *Server) allow(p netip.Prefix) error {
	return s.uapi(wgDevice, fmt.Sprintf("set=1\npublic_key=%s\nupdate_only=true\nallowed_ip=%s\n\n", s.ClientKey.publicHex(), p))
}

// WGQuick returns the client's configuration file for this server. extra lines
// go into its [Peer] section; without an AllowedIPs among them it allows all.
func (s *Server) WGQuick(extra ...string) string {
	more := strings.Join(extra, "\n")
	if !strings.Contains(more, "AllowedIPs") {
		more += "\nAllowedIPs = 0.0.0.0/0"
	}
	return fmt.Sprintf(`[Interface]
PrivateKey = %s
Address = %s
[Peer]
PublicKey = %s
Endpoint = %s
%s
`, s.ClientKey.Private(), host(s.Client), s.Key.Public(), s.Endpoint, strings.TrimSpace(more))
}

// wireBeyond puts one more machine behind the server, which forwards to it.
func (s *Server) wireBeyond() error {
	if err := Cable(s.Node, "deep0", s.beyond, "eth0"); err != nil {
		return err
	}
	if err := s.Node.Address("deep0", netip.MustParsePrefix("198.51.100.193/27")); err != nil {
		return err
	}
	if err := s.beyond.Address("eth0", netip.PrefixFrom(Beyond, 27)); err != nil {
		return err
	}
	if err := s.beyond.Route(defaultRoute, netip.MustParseAddr("198.51.100.193"), "eth0"); err != nil {
		return err
	}
	far := Far{Node: s.beyond, pings: make(map[string]Ping)}
	return errors.Join(far.servePing(), s.serveHop(wgDevice, s.Address), s.Sysctl("net.ipv4.ip_forward", "1"))
}
