package s3api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

// An apiError is an error as S3 answers it: its code, the status that belongs to
// it, and elements of the XML document beside Code and Message.
type apiError struct {
	Code    string
	Message string
	Status  int
	Fields  []field
}

// A field is an element of an error's document, such as BucketName.
type field struct{ Name, Value string }

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// with returns e with a further element in its document.
func (e *apiError) with(name, value string) *apiError {
	e.Fields = append(e.Fields, field{name, value})
	return e
}

// fail returns the error of one of S3's codes, with the message that S3 itself
// sends or the one given. A code that [codes] does not have is a programming
// error.
func fail(code string, message ...string) *apiError {
	known, ok := codes[code]
	if !ok {
		panic("s3api: no such error code: " + code)
	}
	e := &apiError{Code: code, Message: known.message, Status: known.status}
	if len(message) > 0 && message[0] != "" {
		e.Message = message[0]
	}
	return e
}

// failf is fail with a formatted message.
func failf(code, format string, args ...any) *apiError {
	return fail(code, fmt.Sprintf(format, args...))
}

// invalidArgument says which argument of the request (a header, a query
// parameter or a field) has which wrong value.
func invalidArgument(name, value, message string) *apiError {
	return fail("InvalidArgument", message).with("ArgumentName", name).with("ArgumentValue", value)
}

// notImplemented is the answer to what S3 has and this server has not.
func notImplemented(what string) *apiError {
	return fail("NotImplemented").with("Feature", what)
}

type code struct {
	status  int
	message string
}

// codes are S3's error codes that this server sends, with their status and the
// message where none says more (Amazon S3 API reference, "Error responses").
// Clients compare the codes; the messages are those that S3 sends, for some
// compare them too.
var codes = map[string]code{
	"AccessControlListNotSupported":                  {400, "The bucket does not allow ACLs."},
	"AccessDenied":                                   {403, "Access Denied."},
	"AccessForbidden":                                {403, "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."},
	"AuthorizationHeaderMalformed":                   {400, "The authorization header that you provided is not valid."},
	"AuthorizationQueryParametersError":              {400, "The authorization query parameters that you provided are not valid."},
	"BadDigest":                                      {400, "The Content-MD5 you specified did not match what we received."},
	"BadRequest":                                     {400, "Bad Request"},
	"BucketAlreadyExists":                            {409, "The requested bucket name is not available. The bucket name can not be an existing collection, and the bucket namespace is shared by all users of the system. Please select a different name and try again."},
	"BucketAlreadyOwnedByYou":                        {409, "Your previous request to create the named bucket succeeded and you already own it."},
	"BucketNotEmpty":                                 {409, "The bucket you tried to delete is not empty."},
	"ConditionalRequestConflict":                     {409, "The conditional request cannot succeed due to a conflicting operation against this resource."},
	"EntityTooLarge":                                 {400, "Your proposed upload exceeds the maximum allowed object size."},
	"EntityTooSmall":                                 {400, "Your proposed upload is smaller than the minimum allowed size"},
	"IllegalVersioningConfigurationException":        {400, "The versioning configuration specified in the request is invalid."},
	"IncompleteBody":                                 {400, "The request body terminated unexpectedly"},
	"InsufficientStorage":                            {507, "No space left on device."},
	"InternalError":                                  {500, "We encountered an internal error, please try again."},
	"InvalidAccessKeyId":                             {403, "The AWS Access Key Id you provided does not exist in our records."},
	"InvalidArgument":                                {400, "Invalid Argument"},
	"InvalidBucketAclWithObjectOwnership":            {400, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"},
	"InvalidBucketName":                              {400, "The specified bucket is not valid."},
	"InvalidBucketState":                             {409, "The request is not valid with the current state of the bucket."},
	"InvalidDigest":                                  {400, "The Content-Md5 you specified is not valid."},
	"InvalidLocationConstraint":                      {400, "The specified location-constraint is not valid"},
	"InvalidObjectState":                             {403, "The operation is not valid for the current state of the object."},
	"InvalidPart":                                    {400, "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	"InvalidPartNumber":                              {416, "The requested partnumber is not satisfiable."},
	"InvalidPartOrder":                               {400, "The list of parts was not in ascending order. Parts must be ordered by part number."},
	"InvalidPolicyDocument":                          {400, "The content of the form does not meet the conditions specified in the policy document."},
	"InvalidRange":                                   {416, "The requested range is not satisfiable"},
	"InvalidRedirectLocation":                        {400, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."},
	"InvalidRequest":                                 {400, "Invalid Request."},
	"InvalidSecurity":                                {403, "The provided security credentials are not valid."},
	"InvalidStorageClass":                            {400, "The storage class you specified is not valid"},
	"InvalidTag":                                     {400, "The tag provided was not a valid tag."},
	"InvalidToken":                                   {400, "The provided token is malformed or otherwise invalid."},
	"InvalidURI":                                     {400, "The specified URI couldn't be parsed."},
	"KeyTooLongError":                                {400, "Your key is too long."},
	"MalformedACLError":                              {400, "The XML you provided was not well-formed or did not validate against our published schema."},
	"MalformedPOSTRequest":                           {400, "The body of your POST request is not well-formed multipart/form-data."},
	"MalformedPolicy":                                {400, "Policies must be valid JSON and the first byte must be '{'"},
	"MalformedTrailerError":                          {400, "The request contained trailing data that was not well-formed or did not conform to our published schema."},
	"MalformedXML":                                   {400, "The XML you provided was not well-formed or did not validate against our published schema."},
	"MaxMessageLengthExceeded":                       {400, "Your request was too big."},
	"MaxPostPreDataLengthExceededError":              {400, "Your POST request fields preceding the upload file were too large."},
	"MetadataTooLarge":                               {400, "Your metadata headers exceed the maximum allowed metadata size"},
	"MethodNotAllowed":                               {405, "The specified method is not allowed against this resource."},
	"MissingContentLength":                           {411, "You must provide the Content-Length HTTP header."},
	"MissingRequestBodyError":                        {400, "Request Body is empty"},
	"MissingSecurityHeader":                          {400, "Your request was missing a required header."},
	"NoSuchBucket":                                   {404, "The specified bucket does not exist."},
	"NoSuchBucketPolicy":                             {404, "The bucket policy does not exist."},
	"NoSuchCORSConfiguration":                        {404, "The CORS configuration does not exist"},
	"NoSuchKey":                                      {404, "The specified key does not exist."},
	"NoSuchLifecycleConfiguration":                   {404, "The lifecycle configuration does not exist"},
	"NoSuchObjectLockConfiguration":                  {404, "The specified object does not have a ObjectLock configuration."},
	"NoSuchPublicAccessBlockConfiguration":           {404, "The public access block configuration was not found"},
	"NoSuchTagSet":                                   {404, "The TagSet does not exist."},
	"NoSuchUpload":                                   {404, "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	"NoSuchVersion":                                  {404, "The specified version does not exist."},
	"NoSuchWebsiteConfiguration":                     {404, "The specified bucket does not have a website configuration"},
	"NotImplemented":                                 {501, "A header you provided implies functionality that is not implemented."},
	"ObjectLockConfigurationNotFoundError":           {404, "Object Lock configuration does not exist for this bucket."},
	"OperationAborted":                               {409, "A conflicting conditional operation is currently in progress against this resource. Try again."},
	"OwnershipControlsNotFoundError":                 {404, "The bucket ownership controls were not found."},
	"PreconditionFailed":                             {412, "At least one of the pre-conditions you specified did not hold."},
	"ReplicationConfigurationNotFoundError":          {404, "The replication configuration was not found"},
	"RequestHeaderSectionTooLarge":                   {400, "Your request header section exceeds the maximum allowed size."},
	"RequestTimeTooSkewed":                           {403, "The difference between the request time and the current time is too large."},
	"RequestTimeout":                                 {400, "Your socket connection to the server was not read from or written to within the timeout period."},
	"ServerSideEncryptionConfigurationNotFoundError": {404, "The server side encryption configuration was not found"},
	"ServiceUnavailable":                             {503, "The service takes no writes at the moment. Reads go on."},
	"SignatureDoesNotMatch":                          {403, "The request signature we calculated does not match the signature you provided. Check your key and signing method."},
	"SlowDown":                                       {503, "Please reduce your request rate."},
	"UnexpectedContent":                              {400, "This request does not support content."},
	"UserKeyMustBeSpecified":                         {400, "The bucket POST must contain the specified field name. If it is specified, check the order of the fields."},
	"XAmzContentSHA256Mismatch":                      {400, "The provided 'x-amz-content-sha256' header does not match what was computed."},
}

// toAPI returns the error that answers err, and whether it is this server's
// fault and is to be logged. It is the one place where an error of the store or
// of a signature becomes one of S3.
func (r *request) toAPI(err error) (e *apiError, ours bool) {
	var signature *sigv4.Error
	var tooLarge *http.MaxBytesError
	var part *store.PartError
	var key *store.KeyError
	var body *store.BodyError
	switch {
	case errors.As(err, &e):
		return e, e.Status >= 500 && e.Status != http.StatusNotImplemented
	case errors.As(err, &signature):
		return fromSignature(signature), false
	case errors.Is(err, store.ErrNoBucket):
		return fail("NoSuchBucket").with("BucketName", r.bucket), false
	case errors.Is(err, store.ErrBucketExists):
		return fail("BucketAlreadyOwnedByYou").with("BucketName", r.bucket), false
	case errors.Is(err, store.ErrBucketNotEmpty):
		return fail("BucketNotEmpty").with("BucketName", r.bucket), false
	case errors.Is(err, store.ErrNotFound):
		return fail("NoSuchKey").with("Key", r.key), false
	case errors.Is(err, store.ErrNoVersion):
		return fail("NoSuchVersion").with("Key", r.key).with("VersionId", r.query.Get("versionId")), false
	case errors.Is(err, store.ErrDeleteMarker):
		return fail("MethodNotAllowed").with("Method", r.Method).with("ResourceType", "DeleteMarker"), false
	case errors.Is(err, store.ErrNoUpload):
		return fail("NoSuchUpload").with("UploadId", r.query.Get("uploadId")), false
	case errors.Is(err, store.ErrPrecondition):
		return fail("PreconditionFailed"), false
	case errors.Is(err, store.ErrLocked):
		return fail("AccessDenied", "Access Denied because object protected by object lock."), false
	case errors.Is(err, store.ErrAttributes):
		return fail("MetadataTooLarge"), false
	case errors.As(err, &part):
		return fail("InvalidPart").with("PartNumber", fmt.Sprint(part.Number)), false
	case errors.As(err, &key):
		return fromKey(key, r.key), false
	case errors.As(err, &tooLarge):
		return fail("EntityTooLarge").with("MaxSizeAllowed", fmt.Sprint(tooLarge.Limit)), false
	case errors.Is(err, errors.ErrUnsupported): // by the service behind store/s3
		return fail("NotImplemented"), false
	case errors.Is(err, store.ErrNoSpace):
		return fail("InsufficientStorage"), true
	case errors.Is(err, store.ErrReadOnly), errors.Is(err, store.ErrStopped):
		return fail("ServiceUnavailable"), true
	case errors.Is(err, store.ErrBusy):
		return fail("SlowDown"), true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail("RequestTimeout"), false
	case errors.As(err, &body), errors.Is(err, context.Canceled):
		return fail("IncompleteBody"), false // the client went away or cut its body off
	}
	return fail("InternalError"), true
}

// fromSignature keeps the code of package sigv4, which has S3's codes.
func fromSignature(err *sigv4.Error) *apiError {
	e := &apiError{Code: err.Code, Message: err.Message, Status: err.Status}
	for _, f := range err.Extra {
		e.Fields = append(e.Fields, field(f))
	}
	return e
}

func fromKey(err *store.KeyError, key string) *apiError {
	if len(key) > store.MaxKey {
		return fail("KeyTooLongError").with("Size", fmt.Sprint(len(key))).with("MaxSizeAllowed", fmt.Sprint(store.MaxKey))
	}
	return failf("InvalidArgument", "The specified object name is not valid: %v.", err)
}
