//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// How each proxy is configured: as an administrator would who has read its
// manual and wants it fast, and alike in what costs. To each applies:
//
//   - one route to one target, connections to it kept and as many as there are
//     clients (keptConnections); the defaults of some (ours 64, Caddy 32,
//     ReverseProxy 2) would have 1,000 clients measure connecting;
//   - no limit on requests per connection;
//   - X-Forwarded-For, -Proto and -Host are set. Ours sets and logs
//     X-Request-Id besides, which the peers are spared;
//   - as many threads or processes as there are cores, which is the default of
//     all but nginx, whose packages set it;
//   - health checks every 5 s where there are any;
//   - no access log, error logs only for what is critical;
//   - no compression, no TLS;
//   - bodies pass as they come. nginx would keep a whole request body in a
//     temporary file first, which is a feature, but no other's;
//   - buffers have their default sizes. Larger ones make large bodies cheaper
//     for HAProxy (tune.bufsize) and uploads for nginx (client_body_buffer_size),
//     and every connection dearer.
//
// What was tried besides and made no difference beyond the noise: reuseport on
// nginx's listener, no temporary files for its responses, splice-auto in HAProxy.

// keptConnections is how many idle connections to the target a proxy keeps.
const keptConnections = 1024

// A place is where a proxy runs: what a configuration is made of.
type place struct {
	Dir           string // for its files
	Listen, Admin string // addresses
	Target        string
	Kept          int
	User          string // of nginx's workers; empty means that it need not be told
}

// A proxy is one of those that are compared.
type proxy struct {
	name    string // as -proxies takes it
	title   string // as the tables have it
	program string // to be found in PATH; empty for what this benchmark brings
	version string // the argument that has it printed
	file    string // the name of its configuration
	config  string // a template over a place
	args    func(p place, file string) []string
}

const (
	ours = "lb"
	self = "reverseproxy" // a mode of this very program
)

var proxies = []proxy{
	{
		name: ours, title: "minicloud lb", version: "-version", file: "lb.toml",
		// All features as they are by default, metrics included; only the
		// access log is off, as everybody's is.
		config: `listen = "{{.Listen}}"
admin = "{{.Admin}}"
access_log = false
log_level = "error"
max_idle_connections = {{.Kept}}

[[targets]]
address = "{{.Target}}"
health_check_endpoint = "/healthz"
`,
		args: func(_ place, file string) []string { return []string{"-config", file} },
	},
	{
		name: "haproxy", title: "HAProxy", program: "haproxy", version: "-v", file: "haproxy.cfg",
		// nbthread is the number of cores by default. http-reuse always is the
		// setting that shares upstream connections most. It wants two open files
		// for each connection that maxconn allows, and would not start where
		// they may not be had; here half of them are never used.
		config: `global
    maxconn 12000
    no strict-limits

defaults
    mode http
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s

frontend clients
    bind {{.Listen}}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend targets

backend targets
    option httpchk GET /healthz
    server target {{.Target}} check inter 5s
`,
		args: func(_ place, file string) []string { return []string{"-db", "-f", file} },
	},
	{
		name: "nginx", title: "nginx", program: "nginx", version: "-v", file: "nginx.conf",
		config: nginxHead + `worker_processes auto;
events {
    worker_connections 12000;
}
http {
` + nginxHTTP + `
    upstream target {
        server {{.Target}};
        keepalive {{.Kept}};
        keepalive_requests 1000000000;
    }
    server {
        listen {{.Listen}};
        client_max_body_size 0;
        location / {
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }
    }
}
`,
		args: func(p place, file string) []string { return nginxArgs(p.Dir, file) },
	},
	{
		name: "caddy", title: "Caddy", program: "caddy", version: "version", file: "Caddyfile",
		config: `{
	admin off
	auto_https off
	log {
		output discard
	}
}
http://{{.Listen}} {
	bind 127.0.0.1
	reverse_proxy {{.Target}} {
		health_uri /healthz
		health_interval 5s
		transport http {
			keepalive_idle_conns {{.Kept}}
			keepalive_idle_conns_per_host {{.Kept}}
			compression off
		}
	}
}
`,
		args: func(_ place, file string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", file}
		},
	},
	{
		name: self, title: "ReverseProxy",
		args: func(p place, _ string) []string { return []string{"serve-reverseproxy", p.Listen, p.Target} },
	},
}

// nginxHead and nginxHTTP are what nginx as a proxy and nginx as the backend
// have in common.
const nginxHead = `daemon off;
{{if .User}}user {{.User}};
{{end}}pid {{.Dir}}/nginx.pid;
error_log stderr crit;
`

const nginxHTTP = `    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {{.Dir}}/client_body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
    scgi_temp_path {{.Dir}}/scgi;`

// backendConfig is nginx with one worker, which answers all but the uploads.
const backendConfig = nginxHead + `worker_processes 1;
events {
    worker_connections 10000;
}
http {
` + nginxHTTP + `
    open_file_cache max=10;
    server {
        listen {{.Listen}};
        root {{.Dir}};
        location = /small {
            default_type application/json;
            return 200 '` + smallAnswer + `';
        }
        location = /healthz {
            return 200 'ok';
        }
    }
}
`

func nginxArgs(dir, file string) []string {
	return []string{"-p", dir, "-e", "stderr", "-c", file}
}

// fill makes a configuration for a place.
func fill(p place, text string) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, p)
	return b.String(), err
}

// writeConfig writes it to the place's directory.
func writeConfig(p place, name, text string) (file string, err error) {
	filled, err := fill(p, text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	file = filepath.Join(p.Dir, name)
	return file, os.WriteFile(file, []byte(filled), 0o644)
}

// newPlace makes a directory for a process. User is whom nginx's workers run
// as: started by root they would be nobody, who cannot read the directory.
func newPlace(parent, name, listen, admin, target string) (place, error) {
	dir, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return place{}, fmt.Errorf("a place for %s: %w", name, err)
	}
	p := place{Dir: dir, Listen: listen, Admin: admin, Target: target, Kept: keptConnections}
	if os.Geteuid() == 0 {
		p.User = "root"
	}
	return p, nil
}
