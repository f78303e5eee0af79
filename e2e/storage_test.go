package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/miekg/dns"
)

// The credential of development, which the documentation names.
const accessKey, secretKey = "minicloud", "minicloud-secret"

// newS3 returns a client of S3 with its present defaults, but for what options
// change. It tries once: what fails is to be seen.
func newS3(endpoint string, hc *http.Client, options ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		HTTPClient:   hc,
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, nil
		}),
	}, options...)
}

func pathStyle(o *s3.Options) { o.UsePathStyle = true }

// throughDNS returns an HTTP client that enters a cloud as ingressclient does: it
// asks the cloud's resolver for the address, and for the port by the SRV record.
func throughDNS(t *testing.T, c cloud) *http.Client {
	ask := func(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
		in, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, kind), c.Resolver())
		if err != nil || in.Rcode != dns.RcodeSuccess {
			return nil, errors.Join(err, fmt.Errorf("%s: %s", name, dns.RcodeToString[in.Rcode]))
		}
		return in.Answer, nil
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		services, err := ask(ctx, "_http._tcp."+host+".", dns.TypeSRV)
		if err != nil {
			return nil, err
		}
		for _, rr := range services {
			if srv, ok := rr.(*dns.SRV); ok {
				port = fmt.Sprint(srv.Port)
			}
		}
		answer, err := ask(ctx, host+".", dns.TypeA)
		if err != nil {
			return nil, err
		}
		for _, rr := range answer {
			if a, ok := rr.(*dns.A); ok {
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(a.A.String(), port))
			}
		}
		return nil, fmt.Errorf("%s has no address", host)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// code returns the code of an error of S3, or "".
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// status returns the status that an error of S3 came with, or 0.
func status(err error) int {
	var e *smithyhttp.ResponseError
	if errors.As(err, &e) {
		return e.HTTPStatusCode()
	}
	return 0
}

// A storage is bin/objectstorage as a process of its own.
type storage struct {
	address string
	config  string
	cmd     *exec.Cmd
	log     logBuffer
}

// newStorage writes its configuration, with further lines; it is not started.
func newStorage(t *testing.T, lines ...string) *storage {
	t.Helper()
	dir := t.TempDir()
	s := &storage{address: "127.0.0.1:" + freePort(t), config: filepath.Join(dir, "storage.toml")}
	text := fmt.Sprintf("listen = %q\ndata_dir = %q\nlog_level = \"warn\"\n%s\n", s.address, filepath.Join(dir, "data"), strings.Join(lines, "\n"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("log of the object store:\n%s", s.log.lines(""))
		}
	})
	return s
}

// launch starts the process and does not wait until it answers.
func (s *storage) launch(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(filepath.Join(bin, "objectstorage"), "-config", s.config)
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the object store: %v", err)
	}
}

// start starts the process and waits until its health is good.
func (s *storage) start(t *testing.T) {
	t.Helper()
	s.launch(t)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "the object store is healthy", func() error {
		resp, err := client.Get("http://" + s.address + "/healthz")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// kill ends the process as a power cut would, as far as a process can tell.
func (s *storage) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // "signal: killed"
		s.cmd = nil
	}
}

// tree is a directory as a user would sync it: its files by their paths.
type tree map[string]string

func (t tree) write(dir string) error {
	for name, text := range t {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// check fails where a directory does not hold exactly the files of t.
func (t tree) check(test *testing.T, dir string) {
	test.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		found = append(found, name)
		text, err := os.ReadFile(file)
		if err == nil && string(text) != t[name] {
			test.Errorf("%s came back with %d bytes, expected %d", name, len(text), len(t[name]))
		}
		return err
	})
	if err != nil {
		test.Fatal(err)
	}
	if len(found) != len(t) {
		slices.Sort(found)
		test.Errorf("%d files came back, expected %d: %q", len(found), len(t), found)
	}
}
