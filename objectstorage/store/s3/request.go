package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxDocument bounds the answer to a raw request, in bytes. The largest is a page
// of 1,000 versions, with keys of 1,024 bytes that are percent-encoded.
const maxDocument = 8 << 20

// An option alters one request.
type option = func(*s3.Options)

// withHeader sets fields of the request, before it is signed. It is how
// attributes are sent: the SDK has three input types with the same fields for
// them, takes Expires as a time only, and knows fewer checksums.
func withHeader(h http.Header) option {
	return s3.WithAPIOptions(func(st *middleware.Stack) error {
		return st.Build.Add(middleware.BuildMiddlewareFunc("minicloud.Header",
			func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				r, ok := in.Request.(*smithyhttp.Request)
				if !ok {
					return middleware.BuildOutput{}, middleware.Metadata{}, fmt.Errorf("set headers of a %T", in.Request)
				}
				for name, values := range h {
					r.Header[name] = values
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
	})
}

// withPayloadHash signs a body by its SHA-256, in hexadecimal digits, so that the
// SDK does not read it once more.
func withPayloadHash(hash string) option {
	return s3.WithAPIOptions(func(st *middleware.Stack) error {
		return st.Initialize.Add(middleware.InitializeMiddlewareFunc("minicloud.PayloadHash",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, hash), in)
			}), middleware.After)
	})
}

// withCount counts how often the request is sent.
func withCount(n *int) option {
	return s3.WithAPIOptions(func(st *middleware.Stack) error {
		return st.Finalize.Insert(middleware.FinalizeMiddlewareFunc("minicloud.Count",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				*n++
				return next.HandleFinalize(ctx, in)
			}), "Retry", middleware.After)
	})
}

// withQuery replaces the query of a request and bounds its answer.
func withQuery(q url.Values) option {
	return s3.WithAPIOptions(func(st *middleware.Stack) error {
		err := st.Serialize.Insert(middleware.SerializeMiddlewareFunc("minicloud.Query",
			func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
				r, ok := in.Request.(*smithyhttp.Request)
				if !ok {
					return middleware.SerializeOutput{}, middleware.Metadata{}, fmt.Errorf("set the query of a %T", in.Request)
				}
				r.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
				return next.HandleSerialize(ctx, in)
			}), "OperationSerializer", middleware.After)
		if err != nil {
			return err
		}
		return st.Deserialize.Add(middleware.DeserializeMiddlewareFunc("minicloud.Bound",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				out, m, err := next.HandleDeserialize(ctx, in)
				if r, ok := out.RawResponse.(*smithyhttp.Response); ok && r.Body != nil {
					r.Body = &bounded{ReadCloser: r.Body, left: maxDocument}
				}
				return out, m, err
			}), middleware.After)
	})
}

// bounded fails where an answer is longer than it should be.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer of the S3 service is over %d bytes", maxDocument)
	}
	return n, err
}

// get returns the answer to a GET of a bucket with any query, as it is. The SDK's
// types lose the order of versions and delete markers, and the form of documents.
// It is sent as a GetBucketPolicy, the one whose answer the SDK hands over raw.
func (s *Store) get(ctx context.Context, bucket string, q url.Values) (string, error) {
	out, err := s.client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket}, withQuery(q))
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Policy), nil
}

// put sends a document of a bucket.
func (s *Store) put(ctx context.Context, bucket, name string, document []byte) error {
	sum := md5.Sum(document)
	_, err := s.client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket:     &bucket,
		Policy:     aws.String(string(document)),
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}, withQuery(url.Values{name: {""}}))
	return err
}

// remove deletes a document of a bucket.
func (s *Store) remove(ctx context.Context, bucket, name string) error {
	_, err := s.client.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &bucket}, withQuery(url.Values{name: {""}}))
	return err
}

// response returns the HTTP response that a result was made of.
func response(m middleware.Metadata) (*smithyhttp.Response, error) {
	r, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response)
	if !ok || r.Response == nil {
		return nil, errors.New("the S3 service's answer has no header")
	}
	return r, nil
}

// certain is the retryer of writes with a condition; see the package comment.
type certain struct{ aws.RetryerV2 }

func (s *Store) withCertain(o *s3.Options) { o.Retryer = certain{s.retryer} }

// IsErrorRetryable reports that the request certainly did nothing.
func (c certain) IsErrorRetryable(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return c.RetryerV2.IsErrorRetryable(err)
	}
	var api smithy.APIError
	var r *smithyhttp.ResponseError
	if !errors.As(err, &r) || !errors.As(err, &api) {
		return false
	}
	switch r.HTTPStatusCode() {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return true
	case http.StatusConflict:
		return api.ErrorCode() == "ConditionalRequestConflict"
	}
	return false
}
