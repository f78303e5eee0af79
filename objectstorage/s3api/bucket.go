package s3api

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/store"
)

// An account is who owns a bucket or an object, as S3's documents have it.
type account struct {
	ID          string `xml:"ID"`
	DisplayName string `xml:"DisplayName,omitempty"`
}

// theOwner owns everything.
var theOwner = account{owner, owner}

const maxListedBuckets = 10000

// listBuckets answers ListBuckets, in pages where the client wants them. The
// continuation token is the name of the last bucket of the page before.
func (r *request) listBuckets() error {
	limit := maxListedBuckets
	if v, given := r.query["max-buckets"]; given {
		n, err := strconv.Atoi(v[0])
		if err != nil || n < 1 || n > maxListedBuckets {
			return invalidArgument("max-buckets", v[0], "Argument max-buckets must be an integer between 1 and 10000.")
		}
		limit = n
	}
	buckets, err := r.h.store.ListBuckets(r.Context())
	if err != nil {
		return err
	}
	type bucket struct {
		Name         string
		CreationDate string
		BucketRegion string
		BucketArn    string
	}
	answer := struct {
		XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
		Owner             account
		Buckets           []bucket `xml:"Buckets>Bucket"`
		ContinuationToken string   `xml:",omitempty"`
		Prefix            string   `xml:",omitempty"`
	}{Owner: theOwner, Prefix: r.query.Get("prefix")}
	after := r.query.Get("continuation-token")
	for _, b := range buckets {
		region := r.bucketRegion(&b)
		if !strings.HasPrefix(b.Name, answer.Prefix) || b.Name <= after ||
			r.query.Has("bucket-region") && r.query.Get("bucket-region") != region {
			continue
		}
		if len(answer.Buckets) == limit {
			answer.ContinuationToken = answer.Buckets[limit-1].Name
			break
		}
		answer.Buckets = append(answer.Buckets, bucket{b.Name, timestamp(b.Created), region, bucketARN(b.Name)})
	}
	return r.writeXML(http.StatusOK, &answer)
}

func bucketARN(name string) string { return "arn:aws:s3:::" + name }

// bucketRegion is where a bucket is: where it was created, if this server takes
// any region.
func (r *request) bucketRegion(b *store.Bucket) string {
	if v := b.Documents[locationDocument]; len(v) > 0 {
		return string(v)
	}
	return r.h.region()
}

// locationDocument keeps the LocationConstraint that a bucket was created with.
const locationDocument = "location"

// A bucketConfiguration is the body of CreateBucket.
type bucketConfiguration struct {
	XMLName            xml.Name `xml:"CreateBucketConfiguration"`
	LocationConstraint string
	Tags               *struct {
		Tag []tagXML
	}
	Location *struct {
		Name string
		Type string
	}
	Bucket *struct {
		DataRedundancy string
		Type           string
	}
}

// createBucket answers CreateBucket. A bucket that is there already is an error
// as everywhere but in us-east-1, for a client that repeats a lost answer can tell
// both by the code.
func (r *request) createBucket() error {
	b := store.Bucket{Name: r.bucket, Documents: map[string][]byte{}}
	if strings.EqualFold(r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled"), "true") {
		if err := enableLock(&b); err != nil {
			return err
		}
	}
	if err := r.createBucketACL(&b); err != nil {
		return err
	}
	body, err := r.readDocument()
	if err != nil {
		return err
	}
	if len(body) > 0 {
		if err := r.configureBucket(&b, body); err != nil {
			return err
		}
	}
	if err := r.h.store.CreateBucket(r.Context(), b); err != nil {
		return err
	}
	r.w.Header().Set("Location", "/"+r.bucket)
	r.w.Header().Set("X-Amz-Bucket-Arn", bucketARN(r.bucket))
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// configureBucket takes the body of CreateBucket into b's settings.
func (r *request) configureBucket(b *store.Bucket, body []byte) error {
	var c bucketConfiguration
	if err := decodeXML(body, &c); err != nil {
		return err
	}
	switch region := c.LocationConstraint; {
	case c.Location != nil || c.Bucket != nil:
		return notImplemented("Directory buckets")
	case region == "" || region == r.h.Region && region != "us-east-1":
	case r.h.Region == "" && region != "us-east-1" && validRegion(region):
		b.Documents[locationDocument] = []byte(region)
	default:
		// S3 refuses us-east-1 by this name: its constraint is the empty one.
		return fail("InvalidLocationConstraint").with("LocationConstraint", region)
	}
	if c.Tags == nil || len(c.Tags.Tag) == 0 {
		return nil
	}
	if err := checkBucketTags(c.Tags.Tag); err != nil {
		return err
	}
	return setDocument(b, taggingDocument, &tagSet{Space: namespace, Tags: c.Tags.Tag})
}

// validRegion reports whether a string could be the name of a region: "eu-west-1",
// or "EU", as the oldest clients have it.
func validRegion(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" || s == "EU"
}

func (r *request) headBucket() error {
	h := r.w.Header()
	h.Set("X-Amz-Bucket-Region", r.bucketRegion(&r.settings))
	h.Set("X-Amz-Bucket-Arn", bucketARN(r.bucket))
	h.Set("X-Amz-Access-Point-Alias", "false")
	h.Set("Content-Type", "application/xml")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (r *request) deleteBucket() error {
	err := r.h.store.DeleteBucket(r.Context(), r.bucket)
	if errors.Is(err, store.ErrBucketNotEmpty) && r.settings.Versioning != store.Off {
		return fail("BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.").with("BucketName", r.bucket)
	}
	return r.noContent(err)
}

// noContent answers 204, or returns the error.
func (r *request) noContent(err error) error {
	if err == nil {
		r.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// ok answers 200 without a body, or returns the error.
func (r *request) ok(err error) error {
	if err == nil {
		r.w.WriteHeader(http.StatusOK)
	}
	return err
}

func (r *request) getBucketLocation() error {
	answer := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{}
	if region := r.bucketRegion(&r.settings); region != "us-east-1" {
		answer.Region = region
	}
	return r.writeXML(http.StatusOK, &answer)
}

// A versioningXML is the document of the subresource versioning.
type versioningXML struct {
	XMLName   xml.Name         `xml:"VersioningConfiguration"`
	Xmlns     string           `xml:"xmlns,attr,omitempty"`
	Status    store.Versioning `xml:",omitempty"`
	MfaDelete string           `xml:",omitempty"`
}

func (r *request) getBucketVersioning() error {
	return r.writeXML(http.StatusOK, &versioningXML{Xmlns: namespace, Status: r.settings.Versioning})
}

func (r *request) putBucketVersioning() error {
	var v versioningXML
	if err := r.readXML(&v); err != nil {
		return err
	}
	switch {
	case v.MfaDelete == "Enabled" || r.Header.Get("X-Amz-Mfa") != "":
		return notImplemented("MFA Delete")
	case v.Status != store.Enabled && v.Status != store.Suspended:
		return fail("IllegalVersioningConfigurationException")
	}
	return r.ok(r.h.store.UpdateBucket(r.Context(), r.bucket, func(b *store.Bucket) error {
		if hasLock(b) && v.Status != store.Enabled {
			return fail("InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		}
		b.Versioning = v.Status
		return nil
	}))
}

// setDocument puts a document, as XML, into a bucket's settings. The map is made
// anew, since others may be reading the one that is there.
func setDocument(b *store.Bucket, name string, v any) error {
	body, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	setRaw(b, name, body)
	return nil
}

func setRaw(b *store.Bucket, name string, body []byte) {
	documents := make(map[string][]byte, len(b.Documents)+1)
	for k, v := range b.Documents {
		documents[k] = v
	}
	if body == nil {
		delete(documents, name)
	} else {
		documents[name] = body
	}
	b.Documents = documents
}

// putDocument stores v as the document name of the request's bucket.
func (r *request) putDocument(name string, v any) error {
	return r.h.store.UpdateBucket(r.Context(), r.bucket, func(b *store.Bucket) error { return setDocument(b, name, v) })
}

func (r *request) deleteDocument(name string) error {
	return r.noContent(r.h.store.UpdateBucket(r.Context(), r.bucket, func(b *store.Bucket) error {
		setRaw(b, name, nil)
		return nil
	}))
}

// getDocument answers with a stored document, or with the error of that code.
func (r *request) getDocument(name, missing string) error {
	body, ok := r.settings.Documents[name]
	if !ok {
		return fail(missing).with("BucketName", r.bucket)
	}
	r.w.Header().Set("Content-Type", "application/xml")
	r.w.Header().Set("Content-Length", strconv.Itoa(len(xml.Header)+len(body)))
	r.w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintf(r.w, "%s%s", xml.Header, body)
	return nil
}

// stored decodes a bucket's own document, which was valid when it was stored.
func stored(b *store.Bucket, name string, v any) (bool, error) {
	body, ok := b.Documents[name]
	if !ok {
		return false, nil
	}
	if err := xml.Unmarshal(body, v); err != nil {
		return false, fmt.Errorf("read the document %s of bucket %s: %w", name, b.Name, err)
	}
	return true, nil
}

// oneOf reports whether v is one of those.
func oneOf(v string, those ...string) bool { return slices.Contains(those, v) }
