package s3api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// sdk is AWS's own client for d, with the defaults that it has where it is
// configured by its environment.
func (d *objectDoor) sdk() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(d.URL), UsePathStyle: true, Region: "us-east-1", HTTPClient: d.Client(), RetryMaxAttempts: 1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testCredential.AccessKey, SecretAccessKey: testCredential.SecretKey}, nil
		}),
	})
}

func TestTheSDKWorksWithItsDefaults(t *testing.T) {
	t.Run("over HTTP", func(t *testing.T) { testSDK(t, openObjectDoor(t, httptest.NewServer)) })
	t.Run("over HTTPS", func(t *testing.T) { testSDK(t, openObjectDoor(t, httptest.NewTLSServer)) })
}

func testSDK(t *testing.T, d *objectDoor) {
	c, ctx, bucket := d.sdk(), t.Context(), aws.String("files")
	for _, size := range []int{0, 1, 100_000, 3 << 20} {
		key, body := aws.String(fmt.Sprintf("size/%d", size)), bytes.Repeat([]byte("x"), size)
		put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(body), Metadata: map[string]string{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		// The default is a CRC32, in a header or behind the body as a trailer.
		if put.ChecksumCRC32 == nil || put.ChecksumType != types.ChecksumTypeFullObject {
			t.Errorf("%d bytes: no CRC32 in %+v", size, put)
		}
		got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got.Body) // verifies the checksum
		if err != nil || !bytes.Equal(b, body) || got.Metadata["a"] != "b" || *got.ETag != *put.ETag {
			t.Errorf("%d bytes came back as %d, %v", size, len(b), err)
		}
		if got.ChecksumCRC32 == nil || *got.ChecksumCRC32 != *put.ChecksumCRC32 {
			t.Errorf("%d bytes: the checksum came back as %v", size, got.ChecksumCRC32)
		}
	}
	testSDKMultipart(t, d, c)

	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)})
	var keys []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	if got := strings.Join(keys, " "); got != "parts size/0 size/1 size/100000 size/3145728" {
		t.Errorf("listed %q", got)
	}
	var identifiers []types.ObjectIdentifier
	for _, k := range keys {
		identifiers = append(identifiers, types.ObjectIdentifier{Key: aws.String(k)})
	}
	deleted, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: identifiers}})
	if err != nil || len(deleted.Deleted) != 5 || len(deleted.Errors) != 0 {
		t.Fatalf("%+v, %v", deleted, err)
	}
	_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("parts")})
	var absent *types.NoSuchKey
	if !errors.As(err, &absent) {
		t.Errorf("GET of a deleted key: %v", err)
	}
	_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("parts")})
	var code smithy.APIError
	if !errors.As(err, &code) || code.ErrorCode() != "NotFound" {
		t.Errorf("HEAD of a deleted key: %v", err)
	}
}

func testSDKMultipart(t *testing.T, d *objectDoor, c *s3.Client) {
	ctx, bucket, key := t.Context(), aws.String("files"), aws.String("parts")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, body := range []string{bigPart, smallPart} {
		number := aws.Int32(int32(i + 1))
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: number, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32})
	}
	done, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(got.Body)
	if err != nil || string(b) != bigPart+smallPart || *got.ETag != *done.ETag {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
	attributes, err := c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: bucket, Key: key,
		ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectParts, types.ObjectAttributesObjectSize, types.ObjectAttributesChecksum}})
	if err != nil || *attributes.ObjectParts.TotalPartsCount != 2 || *attributes.ObjectSize != int64(len(b)) || attributes.Checksum == nil {
		t.Errorf("%+v, %v", attributes, err)
	}
}
