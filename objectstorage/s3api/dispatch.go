package s3api

import (
	"net/http"
	"slices"
	"strings"
)

// A level is what a request's path names.
type level string

const (
	atService level = "service"
	atBucket  level = "bucket"
	atObject  level = "object"
)

func (r *request) level() level {
	switch {
	case r.bucket == "":
		return atService
	case r.key == "":
		return atBucket
	}
	return atObject
}

// An access is what a request without a signature needs of [store.Bucket]'s
// Anonymous or of a public ACL. Without either, a policy may still allow it.
type access int

const (
	needsPolicy access = iota // neither reading nor writing objects: a policy alone allows it
	needsRead
	needsWrite
	needsSignature // nothing allows it without one
)

// An operation is one of S3's, by S3's name.
type operation struct {
	name   string
	action string // that a policy names, where it is not "s3:" and the name
	serve  func(*request) error
	// needs is what lets an anonymous request through, and refusal what one
	// that nothing lets through is told in place of AccessDenied's own text.
	needs   access
	refusal string
	// bucketless operations do not want the bucket to exist.
	bucketless bool
	// perKey operations ask [request.permit] for each of their keys themselves.
	perKey bool
	// objectChecksum operations have a checksum in their headers that is the
	// object's and not their document's.
	objectChecksum bool
	// form is signed by a policy in its body and not by its headers.
	form bool
}

// unknownOperation stands for a request that is none.
var unknownOperation = &operation{name: "Unknown"}

// A target is what selects an operation: the method, the level, and the
// subresources, which are those query parameters that are [selectors], sorted
// and joined by "&". copy: the request has the header x-amz-copy-source.
type target struct {
	method      string
	level       level
	subresource string
	copy        bool
}

// operations is the dispatch table. What is not in it is not done: there is no
// fall-through from an unknown subresource to the operation without one.
func operations() map[target]*operation {
	table := map[target]*operation{
		{"GET", atService, "", false}: {name: "ListBuckets", action: "s3:ListAllMyBuckets", serve: (*request).listBuckets, needs: needsSignature, bucketless: true},

		{"PUT", atBucket, "", false}:    {name: "CreateBucket", serve: (*request).createBucket, needs: needsSignature, refusal: refuseAnonymous, bucketless: true},
		{"HEAD", atBucket, "", false}:   {name: "HeadBucket", action: "s3:ListBucket", serve: (*request).headBucket, needs: needsRead},
		{"DELETE", atBucket, "", false}: {name: "DeleteBucket", serve: (*request).deleteBucket},
		{"POST", atBucket, "", false}:   {name: "PostObject", action: "s3:PutObject", serve: (*request).postObject, needs: needsWrite, form: true},

		{"GET", atBucket, "list-type", false}:  {name: "ListObjectsV2", action: "s3:ListBucket", serve: (*request).listObjectsV2, needs: needsRead},
		{"GET", atBucket, "", false}:           {name: "ListObjects", action: "s3:ListBucket", serve: (*request).listObjects, needs: needsRead},
		{"GET", atBucket, "versions", false}:   {name: "ListObjectVersions", action: "s3:ListBucketVersions", serve: (*request).listObjectVersions, needs: needsRead},
		{"GET", atBucket, "uploads", false}:    {name: "ListMultipartUploads", action: "s3:ListBucketMultipartUploads", serve: (*request).listMultipartUploads, needs: needsRead},
		{"POST", atBucket, "delete", false}:    {name: "DeleteObjects", action: "s3:DeleteObject", serve: (*request).deleteObjects, needs: needsSignature, perKey: true},
		{"GET", atBucket, "location", false}:   {name: "GetBucketLocation", serve: (*request).getBucketLocation, needs: needsRead},
		{"GET", atBucket, "versioning", false}: {name: "GetBucketVersioning", serve: (*request).getBucketVersioning},
		{"PUT", atBucket, "versioning", false}: {name: "PutBucketVersioning", serve: (*request).putBucketVersioning},

		{"GET", atBucket, "tagging", false}:              {name: "GetBucketTagging", serve: (*request).getBucketTagging},
		{"PUT", atBucket, "tagging", false}:              {name: "PutBucketTagging", serve: (*request).putBucketTagging},
		{"DELETE", atBucket, "tagging", false}:           {name: "DeleteBucketTagging", action: "s3:PutBucketTagging", serve: (*request).deleteBucketTagging},
		{"GET", atBucket, "cors", false}:                 {name: "GetBucketCors", action: "s3:GetBucketCORS", serve: (*request).getBucketCors},
		{"PUT", atBucket, "cors", false}:                 {name: "PutBucketCors", action: "s3:PutBucketCORS", serve: (*request).putBucketCors},
		{"DELETE", atBucket, "cors", false}:              {name: "DeleteBucketCors", action: "s3:PutBucketCORS", serve: (*request).deleteBucketCors},
		{"GET", atBucket, "lifecycle", false}:            {name: "GetBucketLifecycleConfiguration", action: "s3:GetLifecycleConfiguration", serve: (*request).getBucketLifecycle},
		{"PUT", atBucket, "lifecycle", false}:            {name: "PutBucketLifecycleConfiguration", action: "s3:PutLifecycleConfiguration", serve: (*request).putBucketLifecycle},
		{"DELETE", atBucket, "lifecycle", false}:         {name: "DeleteBucketLifecycle", action: "s3:PutLifecycleConfiguration", serve: (*request).deleteBucketLifecycle},
		{"GET", atBucket, "policy", false}:               {name: "GetBucketPolicy", serve: (*request).getBucketPolicy},
		{"PUT", atBucket, "policy", false}:               {name: "PutBucketPolicy", serve: (*request).putBucketPolicy},
		{"DELETE", atBucket, "policy", false}:            {name: "DeleteBucketPolicy", serve: (*request).deleteBucketPolicy},
		{"GET", atBucket, "policyStatus", false}:         {name: "GetBucketPolicyStatus", serve: (*request).getBucketPolicyStatus},
		{"GET", atBucket, "ownershipControls", false}:    {name: "GetBucketOwnershipControls", serve: (*request).getBucketOwnership, needs: needsSignature, refusal: refuseGetOwnership},
		{"PUT", atBucket, "ownershipControls", false}:    {name: "PutBucketOwnershipControls", serve: (*request).putBucketOwnership, needs: needsSignature, refusal: refusePutOwnership},
		{"DELETE", atBucket, "ownershipControls", false}: {name: "DeleteBucketOwnershipControls", action: "s3:PutBucketOwnershipControls", serve: (*request).deleteBucketOwnership, needs: needsSignature, refusal: refusePutOwnership},
		{"GET", atBucket, "publicAccessBlock", false}:    {name: "GetPublicAccessBlock", action: "s3:GetBucketPublicAccessBlock", serve: (*request).getPublicAccessBlock},
		{"PUT", atBucket, "publicAccessBlock", false}:    {name: "PutPublicAccessBlock", action: "s3:PutBucketPublicAccessBlock", serve: (*request).putPublicAccessBlock},
		{"DELETE", atBucket, "publicAccessBlock", false}: {name: "DeletePublicAccessBlock", action: "s3:PutBucketPublicAccessBlock", serve: (*request).deletePublicAccessBlock},
		{"GET", atBucket, "object-lock", false}:          {name: "GetObjectLockConfiguration", action: "s3:GetBucketObjectLockConfiguration", serve: (*request).getObjectLockConfiguration},
		{"PUT", atBucket, "object-lock", false}:          {name: "PutObjectLockConfiguration", action: "s3:PutBucketObjectLockConfiguration", serve: (*request).putObjectLockConfiguration},
		{"GET", atBucket, "encryption", false}:           {name: "GetBucketEncryption", action: "s3:GetEncryptionConfiguration", serve: (*request).getBucketEncryption},
		{"GET", atBucket, "acl", false}:                  {name: "GetBucketAcl", serve: (*request).getBucketACL},
		{"PUT", atBucket, "acl", false}:                  {name: "PutBucketAcl", serve: (*request).putBucketACL, needs: needsSignature, refusal: refuseAnonymous},

		{"GET", atObject, "", false}:           {name: "GetObject", serve: (*request).getObject, needs: needsRead},
		{"HEAD", atObject, "", false}:          {name: "HeadObject", action: "s3:GetObject", serve: (*request).headObject, needs: needsRead},
		{"PUT", atObject, "", false}:           {name: "PutObject", serve: (*request).putObject, needs: needsWrite},
		{"PUT", atObject, "", true}:            {name: "CopyObject", action: "s3:PutObject", serve: (*request).copyObject, needs: needsSignature, refusal: refuseCopy},
		{"DELETE", atObject, "", false}:        {name: "DeleteObject", serve: (*request).deleteObject, needs: needsWrite},
		{"GET", atObject, "attributes", false}: {name: "GetObjectAttributes", serve: (*request).getObjectAttributes, needs: needsRead},
		{"GET", atObject, "tagging", false}:    {name: "GetObjectTagging", serve: (*request).getObjectTagging},
		{"PUT", atObject, "tagging", false}:    {name: "PutObjectTagging", serve: (*request).putObjectTagging},
		{"DELETE", atObject, "tagging", false}: {name: "DeleteObjectTagging", serve: (*request).deleteObjectTagging},
		{"GET", atObject, "retention", false}:  {name: "GetObjectRetention", serve: (*request).getObjectRetention},
		{"PUT", atObject, "retention", false}:  {name: "PutObjectRetention", serve: (*request).putObjectRetention},
		{"GET", atObject, "legal-hold", false}: {name: "GetObjectLegalHold", serve: (*request).getObjectLegalHold},
		{"PUT", atObject, "legal-hold", false}: {name: "PutObjectLegalHold", serve: (*request).putObjectLegalHold},
		{"GET", atObject, "acl", false}:        {name: "GetObjectAcl", serve: (*request).getObjectACL},
		{"PUT", atObject, "acl", false}:        {name: "PutObjectAcl", serve: (*request).putObjectACL, needs: needsSignature, refusal: refuseAnonymous},

		{"POST", atObject, "uploads", false}:            {name: "CreateMultipartUpload", action: "s3:PutObject", serve: (*request).createMultipartUpload, needs: needsSignature, refusal: refuseMultipart},
		{"PUT", atObject, "partNumber&uploadId", false}: {name: "UploadPart", action: "s3:PutObject", serve: (*request).uploadPart, needs: needsWrite},
		{"PUT", atObject, "partNumber&uploadId", true}:  {name: "UploadPartCopy", action: "s3:PutObject", serve: (*request).uploadPartCopy, needs: needsSignature},
		{"POST", atObject, "uploadId", false}:           {name: "CompleteMultipartUpload", action: "s3:PutObject", serve: (*request).completeMultipartUpload, needs: needsWrite, objectChecksum: true},
		{"DELETE", atObject, "uploadId", false}:         {name: "AbortMultipartUpload", serve: (*request).abortMultipartUpload},
		{"GET", atObject, "uploadId", false}:            {name: "ListParts", action: "s3:ListMultipartUploadParts", serve: (*request).listParts},
	}
	for _, op := range table {
		if op.action == "" {
			op.action = "s3:" + op.name
		}
	}
	return table
}

// What an anonymous request is told, in S3's words.
const (
	refuseAnonymous    = "Anonymous users cannot invoke this API. Please authenticate."
	refuseCopy         = "Anonymous users cannot copy objects. Please authenticate."
	refuseMultipart    = "Anonymous users cannot initiate multipart uploads. Please authenticate."
	refuseGetOwnership = "s3:GetBucketOwnershipControls does not support Anonymous requests!"
	refusePutOwnership = "s3:PutBucketOwnershipControls does not support Anonymous requests!"
)

// selectors are the query parameters that choose an operation in S3, those that
// this server does not have among them. All others are arguments.
var selectors = map[string]bool{
	"abac": true, "accelerate": true, "acl": true, "analytics": true, "annotation": true, "annotations": true,
	"append": true, "attributes": true, "cors": true, "delete": true, "encryption": true, "intelligent-tiering": true,
	"inventory": true, "legal-hold": true, "lifecycle": true, "list-type": true, "location": true, "logging": true,
	"metadataAnnotationTable": true, "metadataConfiguration": true, "metadataInventoryTable": true,
	"metadataJournalTable": true, "metadataTable": true, "metrics": true, "notification": true, "object-lock": true,
	"ownershipControls": true, "policy": true, "policyStatus": true, "publicAccessBlock": true, "renameObject": true,
	"replication": true, "requestPayment": true, "restore": true, "retention": true, "select": true,
	"select-type": true, "session": true, "tagging": true, "torrent": true, "uploadId": true, "uploads": true,
	"versioning": true, "versions": true, "website": true,
}

// arguments are the query parameters that operations take beside their selectors,
// and which are no reason to refuse a request that changes something.
var arguments = map[string]bool{
	"versionId": true, "partNumber": true, "id": true, "prefix": true, "delimiter": true, "marker": true,
	"max-keys": true, "encoding-type": true, "AWSAccessKeyId": true, "Signature": true, "Expires": true,
}

// choose finds the operation. A subresource or a combination that the table does
// not have is NotImplemented, once the request is authorised. An error says what
// S3 knows to be wrong by the look of it.
func (r *request) choose() (*operation, error) {
	chosen := r.subresources()
	t := target{r.Method, r.level(), strings.Join(chosen, "&"), r.Header.Get(copySource) != ""}
	if v := r.query.Get("list-type"); t.subresource == "list-type" && v != "2" {
		if v != "1" && v != "" {
			return nil, invalidArgument("list-type", v, "Invalid List Type specified in Request")
		}
		t.subresource = ""
	}
	if err := t.misused(r); err != nil {
		return nil, err
	}
	if op := r.h.operations[t]; op != nil {
		return op, nil
	}
	if len(chosen) == 0 || !slices.Contains([]string{"GET", "HEAD", "PUT", "POST", "DELETE"}, r.Method) {
		return nil, r.methodNotAllowed("SERVICE")
	}
	refusal := ""
	if strings.HasPrefix(t.subresource, "select") {
		refusal = refuseAnonymous
	}
	return &operation{
		name: "NotImplemented", action: "s3:NotImplemented", bucketless: t.level == atService, needs: needsSignature, refusal: refusal,
		serve: func(*request) error { return notImplemented("The subresource " + t.subresource + " with " + t.method) },
	}, nil
}

// subresources returns the selectors of the query, sorted. To a request that
// changes something every parameter is one that is not known to be an argument:
// it may be a subresource that S3 came to have since.
func (r *request) subresources() (chosen []string) {
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	for name := range r.query {
		switch {
		case selectors[name],
			name == "partNumber" && r.Method == http.MethodPut,
			writes && !arguments[name] && !strings.HasPrefix(strings.ToLower(name), "x-"):
			chosen = append(chosen, name)
		}
	}
	slices.Sort(chosen)
	return chosen
}

// misused returns S3's own error for some requests that are none of its
// operations, but look like one.
func (t target) misused(r *request) error {
	switch {
	case t.copy && t.method != http.MethodPut && (t.method != http.MethodPost || t.subresource == "uploadId"):
		return invalidArgument("x-amz-copy-source", r.Header.Get(copySource), "You can only specify a copy source header for copy requests.")
	case t.level != atObject:
		return nil
	case t.method == http.MethodPut && t.subresource == "partNumber":
		return invalidArgument("partNumber", "partNumber", "This operation does not accept partNumber without uploadId")
	case t.method == http.MethodPut && t.subresource == "uploadId":
		r.w.Header().Set("Allow", "DELETE, POST, GET")
		return r.methodNotAllowed("UPLOAD")
	case t.method == http.MethodGet && t.subresource == "uploads":
		return fail("InvalidRequest", "Key is not expected for the GET method ?uploads subresource")
	case t.method == http.MethodGet && t.subresource == "versions":
		return fail("InvalidRequest", "There is no such thing as the ?versions sub-resource for a key")
	}
	return nil
}

func (r *request) methodNotAllowed(resource string) error {
	return fail("MethodNotAllowed").with("Method", r.Method).with("ResourceType", resource)
}
