package minicloud

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// A publishedPort is one that a part has on the host.
type publishedPort struct {
	part   string // as an error names it
	env    string // the variable that moves it
	number int    // 0: a free one
	chosen bool   // by the environment
	udp    bool
}

// publishedPorts returns every published port under the variable that moves it.
// A variable that holds no port, and one port for two parts, are errors.
func publishedPorts(lookup func(string) (string, bool)) (map[string]publishedPort, error) {
	var all []publishedPort
	for _, p := range Parts() {
		for _, d := range p.doors() {
			all = append(all, publishedPort{part: d.who, env: d.env, number: d.port, udp: d.udp})
		}
	}
	ports, holders := map[string]publishedPort{}, map[int]publishedPort{}
	for _, p := range all {
		var err error
		if p.number, p.chosen, err = hostPort(lookup, p.env, p.number); err != nil {
			return nil, err
		}
		if other, taken := holders[p.number]; taken && p.number != 0 {
			return nil, fmt.Errorf("port %d is asked for twice, by %s for %s and by %s for %s", p.number, other.env, other.part, p.env, p.part)
		}
		ports[p.env], holders[p.number] = p, p
	}
	return ports, nil
}

// hostPort returns the port on the host that the environment chooses for a
// variable, 0 for a free one, and whether the environment chose at all.
func hostPort(lookup func(string) (string, bool), env string, preset int) (port int, chosen bool, err error) {
	value, ok := lookup(env)
	if !ok {
		return preset, false, nil
	}
	if value == "" {
		return 0, true, nil
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, true, fmt.Errorf("%s is %q, expected a port from 0 to 65535", env, value)
	}
	return int(n), true, nil
}

// error says of a failed bind which port it was about and what moves it.
func (p publishedPort) error(err error) error {
	why := ""
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w; allow this process more, as with `ulimit -n 4096`", err)
	case errors.Is(err, syscall.EADDRINUSE):
		why = "is in use by another program"
	case errors.Is(err, syscall.EACCES):
		why = "needs a privilege that this user does not have"
	}
	if why == "" || p.env == "" {
		return err
	}
	return fmt.Errorf("port %d for %s %s; another one is chosen by %s=<port>", p.number, p.part, why, p.env)
}

// free returns an error where another program holds the port.
func (p publishedPort) free() error {
	on, err := listen(loopback(p.number), p.udp)
	if err == nil {
		on.close()
		return nil
	}
	if errors.Is(err, syscall.EACCES) {
		// This user may not have it. The engine may, unless somebody is there.
		conn, dialErr := net.DialTimeout("tcp", loopback(p.number), time.Second)
		if dialErr != nil {
			return nil
		}
		_ = conn.Close()
		err = syscall.EADDRINUSE
	}
	return p.error(err)
}
