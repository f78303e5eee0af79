package s3api

import (
	"encoding/xml"
	"net/http"
	"time"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

type createdUpload struct {
	XMLName  xml.Name
	Bucket   string
	Key      string
	UploadId string
}

// createMultipartUpload begins an upload in parts. What the object shall be is said
// now and kept with the upload.
func (r *request) createMultipartUpload() error {
	if err := checkObjectKey(r.key); err != nil {
		return err
	}
	attributes, err := r.attributes()
	if err != nil {
		return err
	}
	if attributes.Tags, err = parseTagging(r.Header.Get("X-Amz-Tagging")); err != nil {
		return err
	}
	algorithm, kind, err := checksum.ParseCreate(r.Header)
	if err != nil {
		return checksumError(err)
	}
	attributes.Checksum = store.Checksum{Algorithm: string(algorithm), Type: kind}
	id, err := r.h.store.CreateMultipart(r.Context(), r.bucket, store.Multipart{Key: r.key, Attributes: attributes})
	if err != nil {
		return err
	}
	if algorithm != "" {
		h := r.w.Header()
		h.Set("X-Amz-Checksum-Algorithm", string(algorithm))
		h.Set("X-Amz-Checksum-Type", kind)
	}
	return r.writeXML(http.StatusOK, createdUpload{root("InitiateMultipartUploadResult"), r.bucket, r.key, id})
}

// uploadPart stores the body as a part. A part of the same number is replaced.
func (r *request) uploadPart() error {
	number, err := partNumber(r.query.Get("partNumber"))
	if err != nil {
		return err
	}
	if err := r.refuseForeign(); err != nil {
		return err
	}
	id := r.query.Get("uploadId")
	multipart, err := r.h.store.GetMultipart(r.Context(), r.bucket, r.key, id)
	if err != nil {
		return err
	}
	body, err := r.payload(partAlgorithm(&multipart))
	if err != nil {
		return err
	}
	if err := checkPartAlgorithm(&multipart, body.declared.Algorithm); err != nil {
		return err
	}
	if err := r.checkLockDigest("Part", body, &multipart.Attributes); err != nil {
		return err
	}
	body.keepToo(partAlgorithm(&multipart))
	upload, err := r.stage(body)
	if err != nil {
		return err
	}
	defer upload.Discard()
	part, err := upload.CommitPart(r.Context(), r.bucket, r.key, id, number, body.partChecksum())
	if err != nil {
		return err
	}
	h := r.w.Header()
	h.Set("ETag", quoted(part.ETag))
	// Where neither the upload nor this request named an algorithm, the sum is
	// for this server alone.
	if multipart.Attributes.Checksum.Algorithm != "" || body.declared.Algorithm != "" {
		h.Set(body.client.Algorithm().Field(), body.client.Sum())
	}
	h.Set("Content-Length", "0")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// checkPartAlgorithm refuses a part whose checksum is of another algorithm than
// the upload's, and one without where they make up the object's.
func checkPartAlgorithm(m *store.Multipart, declared checksum.Algorithm) error {
	want := m.Attributes.Checksum
	given := string(declared)
	switch {
	case want.Algorithm == "" || want.Algorithm == given:
		return nil
	case given == "" && want.Type == checksum.FullObject:
		return nil
	case given == "":
		given = "null"
	}
	return failf("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", want.Algorithm, given)
}

// partChecksum is what a part keeps, once p was read.
func (p *payload) partChecksum() store.Checksum {
	return store.Checksum{Algorithm: string(p.own.Algorithm()), Value: p.own.Sum()}
}

// abortMultipartUpload ends an upload and removes its parts.
func (r *request) abortMultipartUpload() error {
	id := r.query.Get("uploadId")
	if v := r.Header.Get("X-Amz-If-Match-Initiated-Time"); v != "" {
		want, err := parseTime(v)
		if err != nil {
			return invalidArgument("x-amz-if-match-initiated-time", v, "The time is not valid.")
		}
		multipart, err := r.h.store.GetMultipart(r.Context(), r.bucket, r.key, id)
		if err != nil {
			return err
		}
		// A time that is yet to come matches everything, as in S3.
		if !want.After(r.h.Now()) && !multipart.Initiated.Truncate(time.Second).Equal(want.Truncate(time.Second)) {
			return fail("PreconditionFailed").with("Condition", "If-Match-Initiated-Time")
		}
	}
	if err := r.h.store.AbortMultipart(r.Context(), r.bucket, r.key, id); err != nil {
		return err
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}
