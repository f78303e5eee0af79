package minicloud

import (
	"fmt"
	"io"
	"strings"
)

// A Row is a part in the table that a user reads.
type Row struct {
	Name   string `json:"name"`
	Where  string `json:"where"` // "127.0.0.1:8004", or empty: not published
	Speaks string `json:"speaks"`
	Admin  string `json:"admin,omitempty"`
}

// printTable prints what runs where, and three commands to try.
func printTable(w io.Writer, rows []Row, admin bool) {
	line := func(name, where, speaks, admin string) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-16s %-16s %-32s %s", name, where, speaks, admin), " "))
	}
	fmt.Fprintln(w)
	var admins string
	resolver, balancer := "", ""
	for _, r := range rows {
		if admin {
			admins = r.Admin
		}
		where := r.Where
		if where == "" {
			where = "inside only"
		}
		line(r.Name, where, r.Speaks, admins)
		if r.Name == resolverName && r.Where != "127.0.0.1:5354" {
			resolver = r.Where
		}
		if r.Name == loadBalancer {
			balancer = r.Where
		}
	}
	if balancer != "" && balancer != onLoopback("80") {
		fmt.Fprintf(w, "\nThe load balancer is not on port 80. DNS says so (SRV), and ingressclient follows; curl needs --connect-to ::%s\n", balancer)
	}
	fmt.Fprintln(w, "\nTry:")
	if resolver != "" {
		// Without it ingressclient would ask at the usual port.
		fmt.Fprintf(w, "  export MINICLOUD_RESOLVER=%s\n", resolver)
	}
	fmt.Fprintln(w, "  bin/ingressclient -X GET http://example.com/api/spells")
	fmt.Fprintln(w, `  bin/ingressclient -X POST -H 'Content-Type: application/json' -d '{"name":"Nox","description":"Puts out light"}' http://example.com/api/spells`)
	fmt.Fprintln(w, "  bin/ingressclient -v http://example.com/files/spells/1.svg      # every step it takes")
}
