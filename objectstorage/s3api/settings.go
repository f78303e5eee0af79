package s3api

import (
	"encoding/xml"

	"minicloud.internal/objectstorage/store"
)

// Names of a bucket's documents in the store.
const (
	taggingDocument   = "tagging"
	corsDocument      = "cors"
	lifecycleDocument = "lifecycle"
	policyDocument    = "policy"
	aclDocument       = "acl"
	ownershipDocument = "ownershipControls"
	blockDocument     = "publicAccessBlock"
)

// maxBucketTags is how many tags a bucket may have.
const maxBucketTags = 50

func (r *request) getBucketTagging() error { return r.getDocument(taggingDocument, "NoSuchTagSet") }

func (r *request) putBucketTagging() error {
	var t tagSet
	if err := r.readXML(&t); err != nil {
		return err
	}
	if err := checkBucketTags(t.Tags); err != nil {
		return err
	}
	if len(t.Tags) == 0 {
		return r.deleteDocument(taggingDocument)
	}
	t.Space = namespace
	return r.noContent(r.putDocument(taggingDocument, &t))
}

// checkBucketTags applies the rules for the tags of objects, of which a bucket may
// have more.
func checkBucketTags(tags []tagXML) error {
	if len(tags) > maxBucketTags {
		return failf("BadRequest", "Bucket tag count cannot be greater than %d", maxBucketTags)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if err := checkTags([]store.Tag{store.Tag(t)}); err != nil {
			return err
		}
		if seen[t.Key] {
			return fail("InvalidTag", "Cannot provide multiple Tags with the same key").with("TagKey", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

func (r *request) deleteBucketTagging() error { return r.deleteDocument(taggingDocument) }

// ownershipXML is the document of the subresource ownershipControls.
type ownershipXML struct {
	XMLName xml.Name `xml:"OwnershipControls"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Rule    []struct {
		ObjectOwnership string
	}
}

// The values of ObjectOwnership. Enforced means that there are no ACLs.
const (
	ownerEnforced  = "BucketOwnerEnforced"
	ownerPreferred = "BucketOwnerPreferred"
	objectWriter   = "ObjectWriter"
)

func newOwnership(value string) *ownershipXML {
	o := &ownershipXML{Xmlns: namespace}
	o.Rule = append(o.Rule, struct{ ObjectOwnership string }{value})
	return o
}

func (r *request) getBucketOwnership() error {
	return r.getDocument(ownershipDocument, "OwnershipControlsNotFoundError")
}

func (r *request) putBucketOwnership() error {
	var o ownershipXML
	if err := r.readXML(&o); err != nil {
		return err
	}
	if len(o.Rule) != 1 || !oneOf(o.Rule[0].ObjectOwnership, ownerEnforced, ownerPreferred, objectWriter) {
		return fail("MalformedXML")
	}
	if o.Rule[0].ObjectOwnership == ownerEnforced {
		acl, err := bucketACL(&r.settings)
		if err != nil {
			return err
		}
		if acl.public(permissionRead) || acl.public(permissionWrite) {
			return fail("InvalidBucketAclWithObjectOwnership")
		}
	}
	return r.ok(r.putDocument(ownershipDocument, newOwnership(o.Rule[0].ObjectOwnership)))
}

func (r *request) deleteBucketOwnership() error { return r.deleteDocument(ownershipDocument) }

// blockXML is the document of the subresource publicAccessBlock.
type blockXML struct {
	XMLName               xml.Name `xml:"PublicAccessBlockConfiguration"`
	Xmlns                 string   `xml:"xmlns,attr,omitempty"`
	BlockPublicAcls       bool     // refuse an ACL that is public
	IgnorePublicAcls      bool     // as if no ACL were public
	BlockPublicPolicy     bool     // refuse a policy that is public
	RestrictPublicBuckets bool     // as if no policy were public
}

func (r *request) getPublicAccessBlock() error {
	return r.getDocument(blockDocument, "NoSuchPublicAccessBlockConfiguration")
}

func (r *request) putPublicAccessBlock() error {
	var b blockXML
	if err := r.readXML(&b); err != nil {
		return err
	}
	b.Xmlns = namespace
	return r.ok(r.putDocument(blockDocument, &b))
}

func (r *request) deletePublicAccessBlock() error { return r.deleteDocument(blockDocument) }

// getBucketEncryption says that nothing is configured: this server encrypts
// nothing, and to answer AES256, as S3 does by default, would be untrue.
func (r *request) getBucketEncryption() error {
	return fail("ServerSideEncryptionConfigurationNotFoundError").with("BucketName", r.bucket)
}
