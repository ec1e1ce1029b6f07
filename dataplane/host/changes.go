package host

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Changes tells when addresses or routes of the host have changed, until ctx
// ends. Many changes at once may come as one value; what has changed is for the
// receiver to look up. When the kernel's news were lost or ended, a last value
// comes and the channel closes: look once more, and call again.
func Changes(ctx context.Context) (<-chan struct{}, error) {
	ctx, cancel := context.WithCancel(ctx)
	addresses, routes := make(chan netlink.AddrUpdate), make(chan netlink.RouteUpdate)
	if err := netlink.AddrSubscribe(addresses, ctx.Done()); err != nil {
		cancel()
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	if err := netlink.RouteSubscribe(routes, ctx.Done()); err != nil {
		cancel()
		return nil, fmt.Errorf("subscribing to changes of routes: %w", err)
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for goesOn := true; goesOn; {
			select {
			case _, goesOn = <-addresses:
			case _, goesOn = <-routes:
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		cancel()
		// The library's goroutines end only when somebody takes what they hold.
		for range addresses {
		}
		for range routes {
		}
	}()
	return changed, nil
}
