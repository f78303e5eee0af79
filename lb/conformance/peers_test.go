package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process is a peer that runs as a program of its own.
type process struct {
	program string
	// config returns the configuration; addr is the listener's, which the
	// process inherits as its file descriptor 3.
	config func(s settings, addr string, targets []string, dir string) string
	// command returns arguments and environment.
	command func(file, dir string) (args, env []string)
}

func (p process) String() string { return p.program }
func (p process) ours() bool     { return false }

// installed returns where the program is; Debian keeps it out of a user's PATH.
func (p process) installed() string {
	if path, err := exec.LookPath(p.program); err == nil {
		return path
	}
	path, err := exec.LookPath(filepath.Join("/usr/sbin", p.program))
	if err != nil {
		return ""
	}
	return path
}

func (p process) start(s settings, targets []string, dir string) (*running, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close() // the process has its own copy: connections wait for it
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	file := filepath.Join(dir, p.program+".conf")
	if err := os.WriteFile(file, []byte(p.config(s, ln.Addr().String(), targets, dir)), 0o600); err != nil {
		return nil, err
	}
	args, env := p.command(file, dir)
	cmd := exec.Command(p.installed(), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = endWithParent()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended by itself (%v): %s", err, &log)
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM) // takes children along, as a kill would not
		select {
		case <-ended:
			return nil
		case <-time.After(waiting):
			_ = cmd.Process.Kill()
			return fmt.Errorf("it does not stop: %v", <-ended)
		}
	}
	p.awaken(ln.Addr().String())
	return &running{addr: ln.Addr().String(), stop: stop, log: log.String}, nil
}

// awaken returns when the process refuses nonsense: connections wait from the
// start, but a busy machine takes its time to begin with the first.
func (p process) awaken(addr string) {
	c, err := net.DialTimeout("tcp", addr, waiting)
	if err != nil {
		return // the script will find out
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waiting))
	_, _ = io.WriteString(c, "nonsense\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
}

// or returns a time in milliseconds, or a default in seconds.
func or(d time.Duration, seconds int) string {
	if d == 0 {
		d = time.Duration(seconds) * time.Second
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

var haproxy = process{
	program: "haproxy",
	command: func(file, _ string) (args, env []string) { return []string{"-db", "-q", "-f", file}, nil },
	config: func(s settings, _ string, targets []string, _ string) string {
		var b strings.Builder
		line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
		line("global\n maxconn 500\n nbthread 1")
		if s.maxHead+s.maxLine > 0 {
			line(" tune.bufsize %d\n tune.maxrewrite 256", 256+max(s.maxHead, s.maxLine))
		}
		if s.maxFields > 0 {
			line(" tune.http.maxhdr %d", s.maxFields)
		}
		line("defaults\n mode http\n retries 2\n option redispatch 1\n retry-on conn-failure empty-response")
		line(" timeout connect %s\n timeout client %s", or(s.dial, 1), or(s.bodyIdle, 60))
		server := s.responseHead
		if server == 0 {
			server = s.bodyIdle
		}
		line(" timeout server %s\n timeout http-request %s", or(server, 30), or(s.requestHead, 10))
		line(" timeout http-keep-alive %s\n timeout tunnel %s\n timeout queue %s", or(s.keepAlive, 60), or(s.tunnelIdle, 3600), or(s.queue, 10))
		line("frontend in\n bind fd@3\n default_backend out")
		if s.maxBody > 0 {
			line(" http-request deny deny_status 413 if { req.body_size gt %d }", s.maxBody)
		}
		if !s.trusting {
			for _, f := range []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id", "x-real-ip", "forwarded"} {
				line(" http-request del-header %s", f)
			}
		}
		line(" option forwardfor")
		line(" http-request set-header x-forwarded-proto http unless { req.hdr(x-forwarded-proto) -m found }")
		line(" http-request set-header x-forwarded-host %%[req.hdr(host)] unless { req.hdr(x-forwarded-host) -m found }")
		line(" http-request set-header x-request-id %%[uuid] unless { req.hdr(x-request-id) -m found }")
		line(" http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }")
		line("backend out\n balance roundrobin\n http-reuse always")
		for i, t := range targets {
			limit := ""
			if s.maxConnections > 0 {
				limit = fmt.Sprintf(" maxconn %d", s.maxConnections)
			}
			line(" server s%d %s%s", i, t, limit)
		}
		return b.String()
	},
}

var nginx = process{
	program: "nginx",
	// The variable hands over a listening socket.
	command: func(file, dir string) (args, env []string) {
		return []string{"-c", file, "-p", dir, "-e", "stderr"}, []string{"NGINX=3;"}
	},
	config: func(s settings, addr string, targets []string, dir string) string {
		var b strings.Builder
		line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
		line("daemon off; worker_processes 1; pid %s/pid; error_log stderr;", dir)
		line("events { worker_connections 500; }\nhttp {\naccess_log off;")
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			line("%s_temp_path %s/%s;", kind, dir, kind)
		}
		line("client_header_timeout %s; client_body_timeout %s; send_timeout %s;", or(s.requestHead, 10), or(s.bodyIdle, 60), or(s.bodyIdle, 60))
		line("keepalive_timeout %s; proxy_connect_timeout %s; proxy_send_timeout %s;", or(s.keepAlive, 60), or(s.dial, 1), or(s.bodyIdle, 60))
		read := s.responseHead
		for _, d := range []time.Duration{s.bodyIdle, s.tunnelIdle} {
			if read == 0 {
				read = d
			}
		}
		line("proxy_read_timeout %s; client_max_body_size %d;", or(read, 30), s.maxBody)
		if s.maxLine > 0 { // a line has to fit into one of these
			line("client_header_buffer_size %d; large_client_header_buffers %d %d;", s.maxLine, max(1, s.maxHead/s.maxLine), s.maxLine)
		}
		line("map $http_upgrade $switch { default upgrade; '' ''; }")
		forwarded := map[string]string{"For": "$remote_addr", "Proto": "$scheme", "Host": "$http_host"}
		id := "$request_id"
		if s.trusting {
			line("map $http_x_forwarded_proto $proto { default $http_x_forwarded_proto; '' $scheme; }")
			line("map $http_x_forwarded_host $host_before { default $http_x_forwarded_host; '' $http_host; }")
			line("map $http_x_request_id $id_before { default $http_x_request_id; '' $request_id; }")
			forwarded = map[string]string{"For": "$proxy_add_x_forwarded_for", "Proto": "$proto", "Host": "$host_before"}
			id = "$id_before"
		}
		line("upstream out { keepalive 64;")
		for _, t := range targets {
			limit := ""
			if s.maxConnections > 0 {
				limit = fmt.Sprintf(" max_conns=%d", s.maxConnections)
			}
			line("server %s max_fails=0%s;", t, limit)
		}
		line("}\nserver { listen %s; location / {", addr)
		line("proxy_pass http://out; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off;")
		line("proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $switch;")
		for name, value := range forwarded {
			line("proxy_set_header X-Forwarded-%s %s;", name, value)
		}
		line("proxy_set_header X-Request-Id %s;", id)
		if !s.trusting {
			line("proxy_set_header X-Forwarded-Port ''; proxy_set_header X-Real-Ip ''; proxy_set_header Forwarded '';")
		}
		line("}}}")
		return b.String()
	},
}
