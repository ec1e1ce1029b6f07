package peers

import (
	"fmt"
	"net"

	"turnout/conf"
)

// Apply changes the running tunnel into t by the difference only: sessions of
// peers that stay live on. The name cannot change, since it is the name of
// the socket in Options.Dir. After an error the tunnel runs as before, or
// with the part of the change that WireGuard took; Apply can be called again
// with either configuration.
func (d *Device) Apply(t conf.Tunnel) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("tunnel %s: %w", t.Name, net.ErrClosed)
	}
	old := *d.conf.Load()
	if old.Name != t.Name {
		return fmt.Errorf("tunnel %s cannot become %s while it runs; close one and open the other", old.Name, t.Name)
	}
	if old.ListenPort != t.ListenPort {
		if err := d.movePort(t.ListenPort); err != nil {
			return fmt.Errorf("tunnel %s: %w", t.Name, err)
		}
	}
	if text := changeText(old, t); text != "" {
		if err := d.wg.IpcSet(text); err != nil {
			return fmt.Errorf("tunnel %s: configuring WireGuard: %w", t.Name, reason(err))
		}
	}
	d.conf.Store(&t)
	d.resolveNames(old, t)
	return nil
}

// movePort opens the sockets anew on port, or on the old one if that fails:
// wireguard-go closes before it opens.
func (d *Device) movePort(port uint16) error {
	old := d.Status().ListenPort
	err := d.setPort(port)
	if err == nil {
		return nil
	}
	if again := d.setPort(old); again != nil {
		return fmt.Errorf("%w; nor could the old port %d be opened again: %w", err, old, again)
	}
	return err
}

func (d *Device) setPort(port uint16) error {
	if err := d.wg.IpcSet(fmt.Sprintf("listen_port=%d\n", port)); err != nil {
		return fmt.Errorf("moving to another port: %w", reason(err))
	}
	return nil
}
