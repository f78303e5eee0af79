package ingressclient

import (
	"fmt"
	"strconv"
	"strings"
)

// A flagSpec is one flag. The table of them is what is parsed, what --help
// prints, and what a test compares with the README.
type flagSpec struct {
	short byte   // 0: none
	long  string // without the dashes
	arg   string // the name of its value; empty: it has none
	help  string
	// set stores the value. Its error goes on after the flag's name.
	set func(o *options, value string) error
}

func yes(field func(*options) *bool) func(*options, string) error {
	return func(o *options, _ string) error { *field(o) = true; return nil }
}

func text(field func(*options) *string) func(*options, string) error {
	return func(o *options, v string) error {
		if v == "" {
			return fmt.Errorf("is empty")
		}
		*field(o) = v
		return nil
	}
}

var flags = []flagSpec{
	{'X', "request", "METHOD", "send this method", text(func(o *options) *string { return &o.method })},
	{'H', "header", "LINE", `add or replace a header; "Name:" removes it, "Name;" sends it empty`, setHeader},
	{'d', "data", "DATA", "send this; @FILE sends a file's bytes unchanged, @- standard input", setData},
	{0, "data-binary", "DATA", "the same as -d", setData},
	{0, "data-raw", "DATA", "as -d, but @ means nothing", func(o *options, v string) error {
		o.data = append(o.data, dataArg{text: v})
		return nil
	}},
	{0, "json", "DATA", "as -d, with Content-Type and Accept for JSON", func(o *options, v string) error {
		o.json = true
		return setData(o, v)
	}},
	{'F', "form", "NAME=CONTENT", "send a multipart form; @FILE is a file, <FILE its text; ;type= and ;filename= may follow", func(o *options, v string) error {
		part, err := parseFormPart(v)
		o.form = append(o.form, part)
		return err
	}},
	{0, "form-string", "NAME=TEXT", "as -F, but @, < and ; mean nothing", func(o *options, v string) error {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return fmt.Errorf("is %q, expected NAME=TEXT", v)
		}
		part := formPart{name: name, text: value}
		o.form = append(o.form, part)
		return part.check()
	}},
	{'T', "upload-file", "FILE", "PUT a file, - for standard input; a URL that ends in / gets the file's name", text(func(o *options) *string { return &o.upload })},
	{'f', "fail", "", "exit with 22, without the body, where the status is 400 or above", yes(func(o *options) *bool { return &o.fail })},
	{0, "fail-with-body", "", "as -f, but with the body", yes(func(o *options) *bool { return &o.failBody })},
	{'o', "output", "FILE", "write the body to a file, which appears when it is whole", text(func(o *options) *string { return &o.output })},
	{'O', "remote-name", "", "as -o, named like the end of the URL's path", yes(func(o *options) *bool { return &o.remoteName })},
	{'i', "include", "", "print the head of the answer before its body", yes(func(o *options) *bool { return &o.include })},
	{'I', "head", "", "send HEAD, and print the head of the answer", yes(func(o *options) *bool { return &o.head })},
	{'v', "verbose", "", "say every step on standard error", yes(func(o *options) *bool { return &o.verbose })},
	{'s', "silent", "", "say nothing of errors", yes(func(o *options) *bool { return &o.silent })},
	{'S', "show-error", "", "with -s, say errors all the same", yes(func(o *options) *bool { return &o.showError })},
	{'L', "location", "", "follow redirects", yes(func(o *options) *bool { return &o.location })},
	{0, "max-redirs", "N", "follow at most this many redirects; default 50, -1 for no limit", func(o *options, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < -1 {
			return fmt.Errorf("is %q, expected a number from -1", v)
		}
		o.maxRedirs = n
		return nil
	}},
	{'m', "max-time", "SECONDS", "give the whole at most this long; default no limit", func(o *options, v string) (err error) {
		o.maxTime, err = parseSeconds(v)
		return err
	}},
	{0, "connect-timeout", "SECONDS", "give resolving and connecting at most this long; default 10", func(o *options, v string) (err error) {
		o.connectTimeout, err = parseSeconds(v)
		if err == nil && o.connectTimeout == 0 {
			o.connectTimeout = defaultConnectTimeout
		}
		return err
	}},
	{'u', "user", "USER:PASSWORD", "send basic authentication", func(o *options, v string) error {
		if !strings.Contains(v, ":") {
			return fmt.Errorf("has no password, expected USER:PASSWORD")
		}
		o.user = v
		return nil
	}},
	{'A', "user-agent", "NAME", "send this User-Agent; empty sends none", func(o *options, v string) error {
		o.agent, o.agentSet = v, true
		return checkHeaderValue(v)
	}},
	{0, "resolver", "HOST:PORT", "ask this resolver; default $MINICLOUD_RESOLVER, or 127.0.0.1:${MINICLOUD_RESOLVER_PORT-5354}", text(func(o *options) *string { return &o.resolver })},
	{0, "explain", "", "send nothing, and say on standard output what would happen: in DNS, and in the load balancer", yes(func(o *options) *bool { return &o.explain })},
	{0, "resolver-admin", "HOST:PORT", "ask this admin listener of the resolver, with --explain; default $MINICLOUD_RESOLVER_ADMIN, or 127.0.0.1:${MINICLOUD_RESOLVER_ADMIN_PORT-5380}", text(func(o *options) *string { return &o.resolverAdmin })},
	{0, "lb-admin", "HOST:PORT", "ask this admin listener of the load balancer, with --explain; default $MINICLOUD_LB_ADMIN, or 127.0.0.1:${MINICLOUD_LB_ADMIN_PORT-8008}", text(func(o *options) *string { return &o.lbAdmin })},
	{0, "resolve", "HOST:PORT:ADDRESS", "use this address for host and port, and ask nobody", func(o *options, v string) error {
		rule, err := parseResolve(v)
		o.resolve = append(o.resolve, rule)
		return err
	}},
	{0, "connect-to", "HOST:PORT:HOST2:PORT2", "connect to the second pair in place of the first; empty means any, or the same", func(o *options, v string) error {
		rule, err := parseConnectTo(v)
		o.connectTo = append(o.connectTo, rule)
		return err
	}},
	{'4', "ipv4", "", "use IPv4 addresses only", yes(func(o *options) *bool { return &o.ipv4 })},
	{'6', "ipv6", "", "use IPv6 addresses only", yes(func(o *options) *bool { return &o.ipv6 })},
	{'k', "insecure", "", "do not check the server's certificate", yes(func(o *options) *bool { return &o.insecure })},
	{0, "path-as-is", "", "leave /../ and /./ in the path", yes(func(o *options) *bool { return &o.pathAsIs })},
	{'N', "no-buffer", "", "nothing changes: the body is never held back", func(*options, string) error { return nil }},
	{'V', "version", "", "print the version", yes(func(o *options) *bool { return &o.version })},
	{'h', "help", "", "print this", yes(func(o *options) *bool { return &o.help })},
}

func setData(o *options, v string) error {
	if file, ok := strings.CutPrefix(v, "@"); ok {
		if file == "" {
			return fmt.Errorf("is @ without a file; @- is standard input")
		}
		o.data = append(o.data, dataArg{file: file})
		return nil
	}
	o.data = append(o.data, dataArg{text: v})
	return nil
}

func setHeader(o *options, v string) error {
	h, err := parseHeader(v)
	o.headers = append(o.headers, h)
	return err
}

func shortFlag(letter byte) *flagSpec {
	for i := range flags {
		if flags[i].short == letter && letter != 0 {
			return &flags[i]
		}
	}
	return nil
}

func unknownFlag(name string) *failure {
	f := failf(exitUsage, "the flag %s is not known", name)
	best, distance := "", 3
	for i := range flags {
		known := "--" + flags[i].long
		if d := editDistance("--"+strings.TrimLeft(name, "-"), known); d < distance && d < len(name)-1 {
			best, distance = known, d
		}
	}
	if best != "" {
		f.msg += fmt.Sprintf(", did you mean %s?", best)
	}
	return f.withHint("ingressclient --help lists the flags")
}

// editDistance is the Levenshtein distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// usage returns the text of --help.
func usage() string {
	var b strings.Builder
	b.WriteString("Usage: ingressclient [flags] URL\n\n" +
		"Enters the cloud: asks its resolver where the URL's host is, and sends the\n" +
		"request there. Flags and exit codes are curl's.\n\n")
	for i := range flags {
		f := &flags[i]
		name := "    --" + f.long
		if f.short != 0 {
			name = fmt.Sprintf("-%c, --%s", f.short, f.long)
		}
		if f.arg != "" {
			name += " " + f.arg
		}
		if len(name) > 30 {
			name += "\n" + strings.Repeat(" ", 32)
		}
		fmt.Fprintf(&b, " %-31s%s\n", name, f.help)
	}
	b.WriteString("\nExample:\n  ingressclient -X GET http://example.com/api/spells\n")
	return b.String()
}
