package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// userVar marks a process that EnterUserNS has started.
const userVar = "TURNOUT_NETLAB_USERNS"

// Possible says whether this process can make labs here and now, and if not,
// what stands in the way and what to do about it.
func Possible() error {
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("a TUN device cannot be opened: %w; load the tun module, "+
			"and in a container pass --device /dev/net/tun; without root it must be readable and writable by everyone", err)
	}
	tun.Close()
	n, err := NewNode("a trial")
	if err != nil {
		return fmt.Errorf("%w; be root, and in a container have --cap-add NET_ADMIN --cap-add SYS_ADMIN", err)
	}
	defer n.Close()
	return nil
}

// InUserNS reports that this process is a copy that EnterUserNS has started.
func InUserNS() bool { return os.Getenv(userVar) != "" }

// NeedsUserNS reports that this process is not root, so that labs can be made
// only by a copy of it in a user namespace.
func NeedsUserNS() bool { return os.Geteuid() != 0 && !InUserNS() }

// EnterUserNS runs argv as root of a user namespace of its own, with this
// process's streams, and returns its exit status.
func EnterUserNS(argv []string) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), userVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	// The kernel ends the copy with the thread that has started it.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The copy cleans up when it is told to end, and this process waits for it.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	err := cmd.Start()
	if err == nil {
		go func() {
			for s := range signals {
				cmd.Process.Signal(s)
			}
		}()
		err = cmd.Wait()
	}
	signal.Stop(signals)
	close(signals)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	}
	return 1, fmt.Errorf("this user may not make a user namespace: %w; run it as root, "+
		"or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 or user.max_user_namespaces=10000; "+
		"on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0)", err)
}
