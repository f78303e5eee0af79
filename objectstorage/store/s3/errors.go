package s3

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"minicloud.internal/objectstorage/store"
)

// storeError is err of the SDK as an error of package store where that has one,
// wrapped with the action (Amazon S3 API reference, "Error responses"). nil stays
// nil.
func storeError(action string, err error) error {
	if err == nil {
		return nil
	}
	if known := known(err); known != nil {
		return fmt.Errorf("%s: %w", action, known)
	}
	return fmt.Errorf("%s: %w", action, err)
}

// known returns the error of package store that err is, or nil.
func known(err error) error {
	switch code(err) {
	case "NoSuchBucket":
		return store.ErrNoBucket
	case "BucketAlreadyExists", "BucketAlreadyOwnedByYou":
		return store.ErrBucketExists
	case "BucketNotEmpty":
		return store.ErrBucketNotEmpty
	case "NoSuchKey":
		return store.ErrNotFound
	case "NoSuchVersion":
		return store.ErrNoVersion
	case "NoSuchUpload":
		return store.ErrNoUpload
	case "PreconditionFailed":
		return store.ErrPrecondition
	case "MetadataTooLarge", "RequestHeaderSectionTooLarge":
		return store.ErrAttributes
	case "KeyTooLongError":
		return &store.KeyError{Reason: "is too long for the S3 service"}
	case "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "StorageFull":
		return store.ErrNoSpace
	case "SlowDown", "ServiceUnavailable", "TooManyRequests", "ConditionalRequestConflict", "OperationAborted":
		return store.ErrBusy
	}
	switch status(err) {
	case http.StatusPreconditionFailed:
		return store.ErrPrecondition
	case http.StatusInsufficientStorage:
		return store.ErrNoSpace
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return store.ErrBusy
	}
	return nil
}

// code returns the code of an answer of S3, or "".
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status returns the HTTP status of an answer, or 0.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// header returns the header of an answer that is an error; nil where there was no
// answer.
func header(err error) http.Header {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil {
		return r.Response.Header
	}
	return nil
}

// spoolError is an error of the temporary file of a body.
func spoolError(action string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = store.ErrNoSpace
	case errors.Is(err, syscall.EROFS):
		err = store.ErrReadOnly
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		err = store.ErrBusy
	}
	return fmt.Errorf("%s: %w", action, err)
}
