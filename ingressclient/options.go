package ingressclient

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// options is what the command line and the environment say.
type options struct {
	url string

	method     string // -X; empty: what the other flags imply
	head       bool   // -I
	headers    []headerArg
	data       []dataArg
	json       bool
	form       []formPart
	upload     string // -T
	user       string // -u
	agent      string
	agentSet   bool
	pathAsIs   bool
	insecure   bool
	fail       bool
	failBody   bool
	output     string // -o
	remoteName bool   // -O
	include    bool
	verbose    bool
	silent     bool
	showError  bool
	help       bool
	version    bool
	explain    bool

	location  bool
	maxRedirs int // -1: no limit

	// maxTime bounds the whole, 0: no limit, as in curl, so that a stream may
	// be followed. connectTimeout bounds resolving and connecting, per request.
	maxTime        time.Duration
	connectTimeout time.Duration

	// host:port; the two admin listeners count with --explain only.
	resolver, resolverAdmin, lbAdmin string

	resolve   []resolveRule
	connectTo []connectRule
	ipv4      bool
	ipv6      bool
}

// defaultConnectTimeout is shorter than curl's five minutes: the cloud is near.
const defaultConnectTimeout = 10 * time.Second

// parseArgs reads the command line. What it has understood so far counts even
// with an error: -s is one of the flags.
func parseArgs(args []string, env func(string) string) (options, error) {
	o := options{maxRedirs: 50, connectTimeout: defaultConnectTimeout}
	var urls []string
	for onlyURLs := false; len(args) > 0; {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case onlyURLs || arg == "-" || !strings.HasPrefix(arg, "-"):
			urls = append(urls, arg)
		case arg == "--":
			onlyURLs = true
		case strings.HasPrefix(arg, "--"):
			args, err = o.long(arg[2:], args)
		default:
			args, err = o.short(arg[1:], args)
		}
		if err != nil {
			return o, err
		}
	}
	if o.help || o.version {
		return o, nil
	}
	if len(urls) != 1 {
		if len(urls) == 0 {
			return o, usagef("no URL is given")
		}
		return o, usagef("one URL at a time: %q is a second one", urls[1])
	}
	o.url = urls[0]
	if err := o.check(); err != nil {
		return o, err
	}
	return o, o.chooseAddresses(env)
}

// long handles --name, --name VALUE and --name=VALUE.
func (o *options) long(name string, rest []string) ([]string, error) {
	name, value, attached := strings.Cut(name, "=")
	for i := range flags {
		f := &flags[i]
		switch {
		case f.long != name:
		case f.arg == "" && attached:
			return rest, usagef("--%s takes no value", name)
		case f.arg == "" || attached:
			return rest, o.set(f, "--"+name, value)
		case len(rest) == 0:
			return rest, usagef("--%s needs a value: --%s %s", name, name, f.arg)
		default:
			return rest[1:], o.set(f, "--"+name, rest[0])
		}
	}
	return rest, unknownFlag("--" + name)
}

// short handles -s, -sS, -X POST and -XPOST: the rest of a word belongs to the
// first letter that takes a value.
func (o *options) short(letters string, rest []string) ([]string, error) {
	for i := range len(letters) {
		f := shortFlag(letters[i])
		name := "-" + letters[i:i+1]
		switch {
		case f == nil && i == 0:
			return rest, unknownFlag("-" + letters)
		case f == nil:
			return rest, unknownFlag(name)
		case f.arg == "":
			if err := o.set(f, name, ""); err != nil {
				return rest, err
			}
		case i+1 < len(letters):
			return rest, o.set(f, name, letters[i+1:])
		case len(rest) == 0:
			return rest, usagef("%s needs a value: %s %s", name, name, f.arg)
		default:
			return rest[1:], o.set(f, name, rest[0])
		}
	}
	return rest, nil
}

func (o *options) set(f *flagSpec, name, value string) error {
	if err := f.set(o, value); err != nil {
		return usagef("%s %v", name, err)
	}
	return nil
}

// check refuses what contradicts itself, as curl does.
func (o *options) check() error {
	bodies := 0
	for _, given := range []bool{len(o.data) > 0, len(o.form) > 0, o.upload != "", o.head} {
		if given {
			bodies++
		}
	}
	switch {
	case bodies > 1:
		return usagef("only one of -d, -F, -T and -I can say what is sent")
	case o.fail && o.failBody:
		return usagef("only one of --fail and --fail-with-body can be chosen")
	case o.ipv4 && o.ipv6:
		return usagef("only one of -4 and -6 can be chosen")
	case o.output != "" && o.remoteName:
		return usagef("only one of -o and -O can name the file")
	}
	return nil
}

// The settings of the addresses that are asked.
var (
	resolverSetting      = setting{"resolver", "MINICLOUD_RESOLVER", "5354"}
	resolverAdminSetting = setting{"resolver-admin", "MINICLOUD_RESOLVER_ADMIN", "5380"}
	lbAdminSetting       = setting{"lb-admin", "MINICLOUD_LB_ADMIN", "8008"}
)

// A setting is how an address is found: by a flag, by a variable of the
// environment, by another one that names only the port on this machine, and
// otherwise at the port where the cloud publishes it, in this order.
type setting struct {
	flag     string // without the dashes
	variable string
	port     string
}

func (s setting) portVariable() string { return s.variable + "_PORT" }

func (o *options) chooseAddresses(env func(string) string) error {
	err := resolverSetting.choose(&o.resolver, env)
	if err == nil && o.explain {
		if err = resolverAdminSetting.choose(&o.resolverAdmin, env); err == nil {
			err = lbAdminSetting.choose(&o.lbAdmin, env)
		}
	}
	return err
}

// choose completes address, which holds what the flag says.
func (s setting) choose(address *string, env func(string) string) error {
	from, chosen := "--"+s.flag, *address
	if chosen == "" {
		from, chosen = s.variable, env(s.variable)
	}
	if chosen == "" {
		from, chosen = s.portVariable(), env(s.portVariable())
		if chosen == "" {
			chosen = s.port
		}
		chosen = net.JoinHostPort("127.0.0.1", chosen)
	}
	if !strings.Contains(chosen, ":") {
		chosen = net.JoinHostPort(chosen, s.port)
	}
	host, port, err := net.SplitHostPort(chosen)
	if err != nil || host == "" {
		return usagef("%s leads to %q, expected HOST:PORT, as in 127.0.0.1:%s", from, chosen, s.port)
	}
	if _, err := parsePort(port); err != nil {
		return usagef("%s leads to %q, whose port %v", from, chosen, err)
	}
	*address = chosen
	return nil
}

// parsePort reads a port from 1 to 65535. Its error goes on after the name of
// what holds the port.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("is %q, expected a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// parseSeconds reads a positive number of seconds, which may have a fraction.
func parseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n < 1e9) {
		return 0, fmt.Errorf("is %q, expected a number of seconds, as in 2.5", s)
	}
	return time.Duration(n * float64(time.Second)), nil
}
