package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/store"
)

// Options are what [Open] can be told. The zero value of a field is its default.
type Options struct {
	// Endpoint is the URL of the service, such as "https://s3.example.com" or
	// "http://127.0.0.1:9000". It has no default, and neither user, query nor
	// fragment.
	Endpoint string
	// Region is what requests are signed for and buckets are created in; default
	// us-east-1.
	Region string
	// AccessKey and SecretKey sign the requests. Without both, requests are
	// anonymous.
	AccessKey, SecretKey string
	// PathStyle puts the bucket into the path instead of the host name. Most
	// services but AWS want it.
	PathStyle bool
	// HTTPClient sends the requests. Default: a client of its own, with Dial and
	// Idle. The timeouts of another one are the caller's.
	HTTPClient *http.Client
	// Dial connects; default [kit.DefaultDial].
	Dial kit.DialFunc
	// Idle is how long a connection may be silent in the middle of a request
	// before it is given up; default 60 s.
	Idle time.Duration
	// Attempts is how often a request is sent at most; default 3.
	Attempts int
	// Memory is the size of a body, in bytes, up to which it is spooled in memory;
	// default 1 MiB. Negative: none.
	Memory int64
	// Dir is where larger bodies are spooled; default [os.TempDir].
	Dir string
	// Fresh is for how long the settings of a bucket are not asked for again;
	// default 5 s. Negative: not at all.
	Fresh time.Duration

	backoff time.Duration // the longest wait between attempts; default the SDK's
}

// stripes is the number of locks that updates of one process take turns by.
const stripes = 256

// Store is the driver; see the package comment. Its methods may be called
// concurrently.
type Store struct {
	Options
	client    *s3.Client
	transport *http.Transport // its own, or nil
	retryer   aws.RetryerV2
	// single is the size above which a staged body is uploaded in parts.
	single int64

	locks [stripes]sync.Mutex // of updates, by a hash of the name

	mu      sync.Mutex
	buckets map[string]settings
}

var _ store.Store = (*Store)(nil)

// Open returns the store at o.Endpoint, once the service has answered a request
// (ListBuckets). One that refuses to list buckets to this key is accepted. It
// is an error that the URL is none, that nobody answers within ctx, and that the
// service does not know the keys.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Store{Options: o, single: 5 << 30, buckets: map[string]settings{}}
	client := o.HTTPClient
	if client == nil {
		s.transport = o.transport()
		client = &http.Client{Transport: s.transport}
	}
	// An answer that sends elsewhere is an error to be seen, and not to be
	// followed with a signature that was made for here.
	client = &http.Client{Transport: client.Transport, Jar: client.Jar, Timeout: client.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var credentials aws.CredentialsProvider = aws.AnonymousCredentials{}
	if o.AccessKey != "" {
		key := aws.Credentials{AccessKeyID: o.AccessKey, SecretAccessKey: o.SecretKey, Source: "configuration"}
		credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return key, nil })
	}
	s.retryer = retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts, r.MaxBackoff = o.Attempts, cmp.Or(o.backoff, r.MaxBackoff)
	})
	s.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(o.Endpoint),
		Region:       o.Region,
		Credentials:  credentials,
		UsePathStyle: o.PathStyle,
		HTTPClient:   client,
		Retryer:      s.retryer,
		// Every body has Content-MD5 and a signed SHA-256 already; the trailers
		// that the SDK would add are not understood everywhere.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		// A reader that seeks is no reason to log.
		DisableLogOutputChecksumValidationSkipped: true,
		DisableS3ExpressSessionAuth:               aws.Bool(true),
	})
	if err := s.probe(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) probe(ctx context.Context) error {
	_, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "NotImplemented") {
		return nil
	}
	return storeError("open "+s.Endpoint, err)
}

// Close closes the idle connections.
func (s *Store) Close() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

func (o *Options) complete() error {
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		// The URL may hold a password; the error of url.Parse repeats it.
		return errors.New("the endpoint of the S3 service is no URL")
	case u.User != nil:
		return errors.New("the endpoint of the S3 service has a user in it, expected the keys beside it")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("the endpoint of the S3 service is %q, expected such as https://s3.example.com", o.Endpoint)
	case (o.AccessKey == "") != (o.SecretKey == ""):
		return errors.New("the S3 service needs both an access key and a secret key, or neither")
	}
	o.Endpoint = strings.TrimSuffix(o.Endpoint, "/")
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Idle == 0 {
		o.Idle = 60 * time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.Memory == 0 {
		o.Memory = 1 << 20
	}
	if o.Fresh == 0 {
		o.Fresh = 5 * time.Second
	}
	return nil
}

func (o *Options) transport() *http.Transport {
	dial := o.Dial.Or()
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &idleConn{Conn: c, idle: o.Idle}, nil
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       o.Idle / 2, // before the deadline of its last read
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   256,
		// What is stored compressed comes back as it was stored.
		DisableCompression: true,
	}
}

// An idleConn is given up when no byte has gone either way for idle. Each move
// renews the deadline of both directions, because net/http waits for an answer
// for as long as it sends the request.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *idleConn) Write(p []byte) (int, error) {
	// In steps, as one large write would have to pass under one deadline.
	n := 0
	for {
		if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:min(n+step, len(p))])
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// step is how much is written under one deadline.
const step = 64 << 10
