package s3api

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

// classify takes a request as far as its operation, whose name it returns, or the
// code of the error.
func classify(t *testing.T, method, url string, headers ...string) string {
	t.Helper()
	req := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	h := New(nil, Config{Hosts: []string{"s3.example.com", "localhost"}})
	r := &request{Request: req, w: httptest.NewRecorder(), h: h, op: unknownOperation}
	query, err := parseQuery(req.URL.RawQuery)
	if err == nil {
		r.query = query
		err = r.address()
	}
	if err == nil {
		r.op, err = r.choose()
	}
	if err == nil && r.op.name == "NotImplemented" {
		err = r.op.serve(r)
	}
	var e *apiError
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		t.Fatalf("%s %s: %v, expected an error of S3", method, url, err)
	}
	return r.op.name
}

// every is each operation of the Amazon S3 API reference (API version 2006-03-01)
// and the request that selects it. Not implemented: those marked by "-".
const every = `
AbortMultipartUpload                             DELETE /b00/k?uploadId=1
CompleteMultipartUpload                          POST   /b00/k?uploadId=1
CopyObject                                       PUT    /b00/k x-amz-copy-source:b00/j
CreateBucket                                     PUT    /b00
CreateBucketMetadataConfiguration              - POST   /b00?metadataConfiguration
CreateBucketMetadataTableConfiguration         - POST   /b00?metadataTable
CreateMultipartUpload                            POST   /b00/k?uploads
CreateSession                                  - GET    /b00?session
DeleteBucket                                     DELETE /b00
DeleteBucketAnalyticsConfiguration             - DELETE /b00?analytics&id=1
DeleteBucketCors                                 DELETE /b00?cors
DeleteBucketEncryption                         - DELETE /b00?encryption
DeleteBucketIntelligentTieringConfiguration    - DELETE /b00?intelligent-tiering&id=1
DeleteBucketInventoryConfiguration             - DELETE /b00?inventory&id=1
DeleteBucketLifecycle                            DELETE /b00?lifecycle
DeleteBucketMetadataConfiguration              - DELETE /b00?metadataConfiguration
DeleteBucketMetadataTableConfiguration         - DELETE /b00?metadataTable
DeleteBucketMetricsConfiguration               - DELETE /b00?metrics&id=1
DeleteBucketOwnershipControls                    DELETE /b00?ownershipControls
DeleteBucketPolicy                               DELETE /b00?policy
DeleteBucketReplication                        - DELETE /b00?replication
DeleteBucketTagging                              DELETE /b00?tagging
DeleteBucketWebsite                            - DELETE /b00?website
DeleteObject                                     DELETE /b00/k
DeleteObjects                                    POST   /b00?delete
DeleteObjectTagging                              DELETE /b00/k?tagging
DeletePublicAccessBlock                          DELETE /b00?publicAccessBlock
GetBucketAbac                                  - GET    /b00?abac
GetBucketAccelerateConfiguration               - GET    /b00?accelerate
GetBucketAcl                                     GET    /b00?acl
GetBucketAnalyticsConfiguration                - GET    /b00?analytics&id=1
GetBucketCors                                    GET    /b00?cors
GetBucketEncryption                              GET    /b00?encryption
GetBucketIntelligentTieringConfiguration       - GET    /b00?intelligent-tiering&id=1
GetBucketInventoryConfiguration                - GET    /b00?inventory&id=1
GetBucketLifecycleConfiguration                  GET    /b00?lifecycle
GetBucketLocation                                GET    /b00?location
GetBucketLogging                               - GET    /b00?logging
GetBucketMetadataConfiguration                 - GET    /b00?metadataConfiguration
GetBucketMetadataTableConfiguration            - GET    /b00?metadataTable
GetBucketMetricsConfiguration                  - GET    /b00?metrics&id=1
GetBucketNotificationConfiguration             - GET    /b00?notification
GetBucketOwnershipControls                       GET    /b00?ownershipControls
GetBucketPolicy                                  GET    /b00?policy
GetBucketPolicyStatus                            GET    /b00?policyStatus
GetBucketReplication                           - GET    /b00?replication
GetBucketRequestPayment                        - GET    /b00?requestPayment
GetBucketTagging                                 GET    /b00?tagging
GetBucketVersioning                              GET    /b00?versioning
GetBucketWebsite                               - GET    /b00?website
GetObject                                        GET    /b00/k
GetObject                                        GET    /b00/k?versionId=1&partNumber=1&response-content-type=a/b
GetObjectAcl                                     GET    /b00/k?acl
GetObjectAttributes                              GET    /b00/k?attributes
GetObjectLegalHold                               GET    /b00/k?legal-hold
GetObjectLockConfiguration                       GET    /b00?object-lock
GetObjectRetention                               GET    /b00/k?retention
GetObjectTagging                                 GET    /b00/k?tagging
GetObjectTorrent                               - GET    /b00/k?torrent
GetPublicAccessBlock                             GET    /b00?publicAccessBlock
HeadBucket                                       HEAD   /b00
HeadObject                                       HEAD   /b00/k?versionId=1&partNumber=1
ListBucketAnalyticsConfigurations              - GET    /b00?analytics
ListBucketIntelligentTieringConfigurations     - GET    /b00?intelligent-tiering
ListBucketInventoryConfigurations              - GET    /b00?inventory
ListBucketMetricsConfigurations                - GET    /b00?metrics
ListBuckets                                      GET    /?max-buckets=1&prefix=a&continuation-token=b
ListMultipartUploads                             GET    /b00?uploads&prefix=a
ListObjects                                      GET    /b00?prefix=a&marker=b&delimiter=c&max-keys=1&encoding-type=url
ListObjectsV2                                    GET    /b00?list-type=2&start-after=b
ListObjectVersions                               GET    /b00?versions&key-marker=a
ListParts                                        GET    /b00/k?uploadId=1&part-number-marker=1
PutBucketAbac                                  - PUT    /b00?abac
PutBucketAccelerateConfiguration               - PUT    /b00?accelerate
PutBucketAcl                                     PUT    /b00?acl
PutBucketAnalyticsConfiguration                - PUT    /b00?analytics&id=1
PutBucketCors                                    PUT    /b00?cors
PutBucketEncryption                            - PUT    /b00?encryption
PutBucketIntelligentTieringConfiguration       - PUT    /b00?intelligent-tiering&id=1
PutBucketInventoryConfiguration                - PUT    /b00?inventory&id=1
PutBucketLifecycleConfiguration                  PUT    /b00?lifecycle
PutBucketLogging                               - PUT    /b00?logging
PutBucketMetricsConfiguration                  - PUT    /b00?metrics&id=1
PutBucketNotificationConfiguration             - PUT    /b00?notification
PutBucketOwnershipControls                       PUT    /b00?ownershipControls
PutBucketPolicy                                  PUT    /b00?policy
PutBucketReplication                           - PUT    /b00?replication
PutBucketRequestPayment                        - PUT    /b00?requestPayment
PutBucketTagging                                 PUT    /b00?tagging
PutBucketVersioning                              PUT    /b00?versioning
PutBucketWebsite                               - PUT    /b00?website
PutObject                                        PUT    /b00/k?x-id=PutObject
PutObjectAcl                                     PUT    /b00/k?acl&versionId=1
PutObjectLegalHold                               PUT    /b00/k?legal-hold
PutObjectLockConfiguration                       PUT    /b00?object-lock
PutObjectRetention                               PUT    /b00/k?retention
PutObjectTagging                                 PUT    /b00/k?tagging
PutPublicAccessBlock                             PUT    /b00?publicAccessBlock
RenameObject                                   - PUT    /b00/k?renameObject x-amz-rename-source:j
RestoreObject                                  - POST   /b00/k?restore&versionId=1
SelectObjectContent                            - POST   /b00/k?select&select-type=2
UpdateBucketMetadataInventoryTableConfiguration - PUT   /b00?metadataInventoryTable
UpdateBucketMetadataJournalTableConfiguration  - PUT    /b00?metadataJournalTable
UpdateObjectEncryption                         - PUT    /b00/k?encryption
UploadPart                                       PUT    /b00/k?partNumber=1&uploadId=1
UploadPartCopy                                   PUT    /b00/k?partNumber=1&uploadId=1 x-amz-copy-source:b00/j
PostObject                                       POST   /b00
`

func TestEveryOperationOfS3IsItsOwnOrNotImplemented(t *testing.T) {
	reached := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(every)) {
		fields := strings.Fields(line)
		name, want := fields[0], fields[0]
		if fields = fields[1:]; fields[0] == "-" {
			want, fields = "NotImplemented", fields[1:]
		}
		var headers []string
		if len(fields) > 2 {
			headers = strings.SplitN(fields[2], ":", 2)
		}
		if got := classify(t, fields[0], fields[1], headers...); got != want {
			t.Errorf("%s (%s %s) is %s, expected %s", name, fields[0], fields[1], got, want)
		}
		reached[want] = true
	}
	for target, op := range operations() {
		if !reached[op.name] {
			t.Errorf("no request of the list reaches %s (%+v)", op.name, target)
		}
	}
}

func TestWhatIsNoOperationIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, method, url, want string
		headers                 []string
	}{
		{"a subresource that is to come does not delete the bucket", "DELETE", "/b00?something-new", "NotImplemented", nil},
		{"nor does one with an argument", "DELETE", "/b00?something-new=1&id=x", "NotImplemented", nil},
		{"nor the object", "DELETE", "/b00/k?something-new", "NotImplemented", nil},
		{"nor does it write the object", "PUT", "/b00/k?something-new", "NotImplemented", nil},
		{"nor does it make the bucket", "PUT", "/b00?something-new", "NotImplemented", nil},
		{"two subresources at once are none", "DELETE", "/b00?cors&tagging", "NotImplemented", nil},
		{"one of buckets is none of objects", "DELETE", "/b00/k?cors", "NotImplemented", nil},
		{"one of objects is none of buckets", "DELETE", "/b00?uploadId=1", "NotImplemented", nil},
		{"uploads with DELETE is not an abort", "DELETE", "/b00/k?uploads", "NotImplemented", nil},
		{"a version with a subresource of buckets", "DELETE", "/b00?versions", "NotImplemented", nil},
		{"delete with another method", "GET", "/b00?delete", "NotImplemented", nil},
		{"a subresource of the service", "GET", "/?versions", "NotImplemented", nil},
		{"a parameter of the client's own is ignored", "DELETE", "/b00/k?x-id=DeleteObject&X-Trace=1", "DeleteObject", nil},
		{"and so is any in a read", "GET", "/b00/k?cache=buster", "GetObject", nil},
		{"another list-type", "GET", "/b00?list-type=3", "InvalidArgument", nil},
		{"the first list-type", "GET", "/b00?list-type=1", "ListObjects", nil},
		{"POST to the service", "POST", "/", "MethodNotAllowed", nil},
		{"POST to an object without a subresource", "POST", "/b00/k", "MethodNotAllowed", nil},
		{"DELETE of the service", "DELETE", "/", "MethodNotAllowed", nil},
		{"an unknown method", "PATCH", "/b00/k", "MethodNotAllowed", nil},
		{"an unknown method with a subresource", "PATCH", "/b00/k?acl", "MethodNotAllowed", nil},
		{"a part without an upload", "PUT", "/b00/k?partNumber=1", "InvalidArgument", nil},
		{"an upload without a part", "PUT", "/b00/k?uploadId=1", "MethodNotAllowed", nil},
		{"uploads of a key", "GET", "/b00/k?uploads", "InvalidRequest", nil},
		{"versions of a key", "GET", "/b00/k?versions", "InvalidRequest", nil},
		{"a copy by GET", "GET", "/b00/k", "InvalidArgument", []string{"x-amz-copy-source", "a/b"}},
		{"a copy by DELETE", "DELETE", "/b00", "InvalidArgument", []string{"x-amz-copy-source", "a/b"}},
		{"a copy into a subresource", "PUT", "/b00/k?acl", "NotImplemented", []string{"x-amz-copy-source", "a/b"}},
		{"a copy into a bucket", "PUT", "/b00", "MethodNotAllowed", []string{"x-amz-copy-source", "a/b"}},
		{"a query that is malformed", "DELETE", "/b00?a=%zz", "InvalidURI", nil},
		{"a semicolon does not hide a parameter", "DELETE", "/b00?a;cors", "NotImplemented", nil},
		{"an escaped name is the name", "DELETE", "/b00?co%72s", "DeleteBucketCors", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := classify(t, test.method, test.url, test.headers...); got != test.want {
				t.Errorf("%s %s is %s, expected %s", test.method, test.url, got, test.want)
			}
		})
	}
}
