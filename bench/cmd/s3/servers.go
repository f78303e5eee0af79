//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"minicloud.internal/bench/internal/proc"
)

// How each server is configured: as its documentation starts it, with its data in
// one directory of the same file system. Only this is told to them besides:
//
//   - where to listen, and the credential;
//   - no access log;
//   - versitygw keeps connections, which it does not by default: every request
//     would measure connecting;
//   - MinIO looks for no update, and has its console on an address that nobody asks;
//   - nginx keeps connections and the files that it serves open.
//
// They promise different things. Ours answers a PUT when the object survives a
// power cut. MinIO syncs the data of an object and not the directories that lead
// to it; versitygw syncs nothing. nginx serves the same objects as static files,
// and takes part in what reads them.

// A place is where a server runs: what a configuration is made of.
type place struct {
	Dir           string // for its files
	Data          string // for its objects
	Listen, Admin string // addresses
	AccessKey     string
	SecretKey     string
	User          string // of nginx's workers; empty means that it need not be told
}

// A server is one of those that are compared.
type server struct {
	name    string // as -servers takes it
	title   string // as the tables have it
	program string
	version string // the argument that has it printed
	s3      bool
	config  string // a template over a place; the file is named "config"
	args    func(p place) []string
	env     func(p place) []string
}

const (
	ours  = "objectstorage"
	minio = "minio"
	nginx = "nginx"
)

var servers = []server{
	{
		name: ours, title: "minicloud objectstorage", version: "-version", s3: true,
		config: `listen = "{{.Listen}}"
admin = "{{.Admin}}"
log_level = "error"
data_dir = "{{.Data}}"

[[credentials]]
access_key = "{{.AccessKey}}"
secret_key = "{{.SecretKey}}"
`,
		args: func(place) []string { return []string{"-config", "config"} },
	},
	{
		name: minio, title: "MinIO", program: "minio", version: "--version", s3: true,
		args: func(p place) []string {
			return []string{"server", "--quiet", "--address", p.Listen, "--console-address", p.Admin, p.Data}
		},
		env: func(p place) []string {
			return []string{"MINIO_ROOT_USER=" + p.AccessKey, "MINIO_ROOT_PASSWORD=" + p.SecretKey, "MINIO_UPDATE=off"}
		},
	},
	{
		name: "versitygw", title: "versitygw", program: "versitygw", version: "--version", s3: true,
		args: func(p place) []string {
			return []string{"--quiet", "--keep-alive", "--port", p.Listen, "posix", p.Data}
		},
		env: func(p place) []string {
			return []string{"ROOT_ACCESS_KEY=" + p.AccessKey, "ROOT_SECRET_KEY=" + p.SecretKey}
		},
	},
	{
		name: nginx, title: "nginx, static files", program: "nginx", version: "-v",
		config: `daemon off;
{{if .User}}user {{.User}};
{{end}}pid {{.Dir}}/nginx.pid;
error_log stderr crit;
worker_processes auto;
events {
    worker_connections 1000;
}
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=20000;
    client_body_temp_path {{.Dir}}/client_body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
    scgi_temp_path {{.Dir}}/scgi;
    server {
        listen {{.Listen}};
        root {{.Data}};
    }
}
`,
		args: func(p place) []string { return []string{"-p", p.Dir, "-e", "stderr", "-c", "config"} },
	},
}

// newPlace makes the directories of a server. User is whom nginx's workers run
// as: started by root they would be nobody, who cannot read the directory.
func newPlace(parent, name, listen, admin string) (place, error) {
	p := place{
		Dir: filepath.Join(parent, name), Data: filepath.Join(parent, name, "data"), Listen: listen, Admin: admin,
		AccessKey: credential.AccessKey, SecretKey: credential.SecretKey,
	}
	if os.Geteuid() == 0 {
		p.User = "root"
	}
	return p, os.MkdirAll(p.Data, 0o755)
}

// writeConfig writes the server's configuration, where it has one.
func (s server) writeConfig(p place) error {
	if s.config == "" {
		return nil
	}
	t, err := template.New("").Parse(s.config)
	if err != nil {
		return fmt.Errorf("the configuration of %s: %w", s.title, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("the configuration of %s: %w", s.title, err)
	}
	return os.WriteFile(filepath.Join(p.Dir, "config"), []byte(b.String()), 0o644)
}

// start starts the server in its place.
func (s server) start(p place) (*proc.Process, error) {
	// What a server keeps for a user goes to its own directory, too.
	env := []string{"HOME=" + p.Dir, "XDG_CONFIG_HOME=" + p.Dir, "XDG_DATA_HOME=" + p.Dir}
	if s.env != nil {
		env = append(env, s.env(p)...)
	}
	return proc.Start(p.Dir, s.name, s.program, env, s.args(p)...)
}

// writeFiles puts the objects that are read where a server of static files finds
// them.
func writeFiles(p place, objects, large int) error {
	for _, of := range []struct {
		bucket  string
		n, size int
	}{{bucketObjects, objects, objectSize}, {bucketLarge, large, largeSize}} {
		dir := filepath.Join(p.Data, of.bucket)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		all := newBodies(of.size)
		for i := range of.n {
			if err := os.WriteFile(filepath.Join(dir, key(i)), all.of(i).bytes, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
