package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"minicloud.internal/objectstorage/store"
)

// Permissions of an ACL (S3 user guide, "Access control list overview").
const (
	permissionFull     = "FULL_CONTROL"
	permissionRead     = "READ"
	permissionWrite    = "WRITE"
	permissionReadACP  = "READ_ACP"
	permissionWriteACP = "WRITE_ACP"
)

// Groups that an ACL can grant something to.
const (
	allUsers           = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticatedUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	logDelivery        = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

const (
	schemaInstance = "http://www.w3.org/2001/XMLSchema-instance"
	// maxGrants is how many grants an ACL may have, as S3 has it.
	maxGrants = 100
)

// An aclXML is the document of the subresource acl. What it grants to accounts
// other than the one is kept and returned, and means nothing; what it grants to
// everybody lets requests without a signature through.
type aclXML struct {
	XMLName           xml.Name `xml:"AccessControlPolicy"`
	Xmlns             string   `xml:"xmlns,attr,omitempty"`
	Owner             *account
	AccessControlList *struct {
		Grant []grantXML
	}
}

type grantXML struct {
	Grantee    granteeXML
	Permission string
}

// A granteeXML is an account, by its identifier or its mail address, or a group.
type granteeXML struct {
	Type         string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
	ID           string `xml:",omitempty"`
	DisplayName  string `xml:",omitempty"`
	EmailAddress string `xml:",omitempty"`
	URI          string `xml:",omitempty"`
}

// MarshalXML writes the type with the prefix xsi: some clients look for
// it by that, and not by its namespace, which encoding/xml would give another. The
// ID is there for a group too, and empty: some clients read it without a look whether
// it is.
func (g granteeXML) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	type fields struct {
		ID           string
		DisplayName  string `xml:",omitempty"`
		EmailAddress string `xml:",omitempty"`
		URI          string `xml:",omitempty"`
	}
	start.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns:xsi"}, Value: schemaInstance}, {Name: xml.Name{Local: "xsi:type"}, Value: g.Type}}
	return e.EncodeElement(fields{g.ID, g.DisplayName, g.EmailAddress, g.URI}, start)
}

// newACL is one that grants everything to the owner, and these.
func newACL(grants ...grantXML) *aclXML {
	a := &aclXML{Xmlns: namespace, Owner: &account{owner, owner}}
	a.AccessControlList = &struct{ Grant []grantXML }{append([]grantXML{ownerGrant}, grants...)}
	return a
}

var ownerGrant = grantXML{granteeXML{Type: "CanonicalUser", ID: owner, DisplayName: owner}, permissionFull}

func groupGrant(uri, permission string) grantXML {
	return grantXML{granteeXML{Type: "Group", URI: uri}, permission}
}

// cannedBucketACL returns the ACL that a value of x-amz-acl stands for.
func cannedBucketACL(name string) (*aclXML, bool) {
	switch name {
	case "private", "bucket-owner-read", "bucket-owner-full-control", "aws-exec-read":
		return newACL(), true
	case "public-read":
		return newACL(groupGrant(allUsers, permissionRead)), true
	case "public-read-write":
		return newACL(groupGrant(allUsers, permissionRead), groupGrant(allUsers, permissionWrite)), true
	case "authenticated-read":
		return newACL(groupGrant(authenticatedUsers, permissionRead)), true
	case "log-delivery-write":
		return newACL(groupGrant(logDelivery, permissionWrite), groupGrant(logDelivery, permissionReadACP)), true
	}
	return nil, false
}

// public reports whether everybody has a permission.
func (a *aclXML) public(permission string) bool {
	return slices.ContainsFunc(a.AccessControlList.Grant, func(g grantXML) bool {
		return g.Grantee.URI == allUsers && (g.Permission == permission || g.Permission == permissionFull)
	})
}

// anyPublic reports whether the ACL grants anything to everybody, or to everybody
// with an account, which S3 takes for public too.
func (a *aclXML) anyPublic() bool {
	return slices.ContainsFunc(a.AccessControlList.Grant, func(g grantXML) bool {
		return g.Grantee.URI == allUsers || g.Grantee.URI == authenticatedUsers
	})
}

// bucketACL is the one that was set, or the default.
func bucketACL(b *store.Bucket) (*aclXML, error) {
	var a aclXML
	if ok, err := stored(b, aclDocument, &a); err != nil || !ok {
		return newACL(), err
	}
	if a.AccessControlList == nil {
		a.AccessControlList = &struct{ Grant []grantXML }{}
	}
	return &a, nil
}

// grantHeaders are the headers that grant one permission each.
var grantHeaders = []struct{ name, permission string }{
	{"X-Amz-Grant-Full-Control", permissionFull},
	{"X-Amz-Grant-Read", permissionRead},
	{"X-Amz-Grant-Read-Acp", permissionReadACP},
	{"X-Amz-Grant-Write", permissionWrite},
	{"X-Amz-Grant-Write-Acp", permissionWriteACP},
}

// headerACL reads x-amz-acl or x-amz-grant-…; nil: neither is there.
func headerACL(h http.Header) (*aclXML, error) {
	var grants []grantXML
	for _, g := range grantHeaders {
		for _, v := range h.Values(g.name) {
			for grantee := range strings.SplitSeq(v, ",") {
				parsed, err := parseGrantee(g.name, grantee)
				if err != nil {
					return nil, err
				}
				grants = append(grants, grantXML{parsed, g.permission})
			}
		}
	}
	canned := h.Get("X-Amz-Acl")
	switch {
	case len(grants) > maxGrants:
		return nil, fail("InvalidArgument", "An access control list cannot have more than 100 grants.")
	case canned != "" && grants != nil:
		return nil, fail("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed.")
	case canned != "":
		a, ok := cannedBucketACL(canned)
		if !ok {
			return nil, invalidArgument("x-amz-acl", canned, "")
		}
		return a, nil
	case grants != nil:
		return newACL(grants...), nil
	}
	return nil, nil
}

// parseGrantee reads one of a grant header: id="…", uri="…" or emailAddress="…". Without a
// kind it is an identifier, as some clients have it.
func parseGrantee(header, v string) (granteeXML, error) {
	kind, value, ok := strings.Cut(strings.TrimSpace(v), "=")
	if !ok {
		kind, value = "id", kind
	}
	value = strings.Trim(value, `"`)
	switch {
	case value == "":
	case strings.EqualFold(kind, "id"):
		return granteeXML{Type: "CanonicalUser", ID: value}, nil
	case strings.EqualFold(kind, "emailAddress"):
		return granteeXML{Type: "AmazonCustomerByEmail", EmailAddress: value}, nil
	case strings.EqualFold(kind, "uri") && oneOf(value, allUsers, authenticatedUsers, logDelivery):
		return granteeXML{Type: "Group", URI: value}, nil
	}
	return granteeXML{}, invalidArgument(strings.ToLower(header), v, "Invalid grantee")
}

// check validates an ACL that came as a document.
func (a *aclXML) check() error {
	if a.Owner == nil || a.Owner.ID == "" || a.AccessControlList == nil {
		return fail("MalformedACLError")
	}
	if len(a.AccessControlList.Grant) > maxGrants {
		return fail("MalformedACLError")
	}
	for _, g := range a.AccessControlList.Grant {
		ok := oneOf(g.Permission, permissionFull, permissionRead, permissionWrite, permissionReadACP, permissionWriteACP)
		switch g.Grantee.Type {
		case "CanonicalUser":
			ok = ok && g.Grantee.ID != ""
		case "AmazonCustomerByEmail":
			ok = ok && g.Grantee.EmailAddress != ""
		case "Group":
			ok = ok && oneOf(g.Grantee.URI, allUsers, authenticatedUsers, logDelivery)
		default:
			ok = false
		}
		if !ok {
			return fail("MalformedACLError")
		}
	}
	if a.Owner.ID != owner {
		return invalidArgument("CanonicalUser/ID", a.Owner.ID, "Invalid id")
	}
	return nil
}

// ownership is the bucket's ObjectOwnership; empty where none is set.
func ownership(b *store.Bucket) (string, error) {
	var o ownershipXML
	if ok, err := stored(b, ownershipDocument, &o); err != nil || !ok || len(o.Rule) != 1 {
		return "", err
	}
	return o.Rule[0].ObjectOwnership, nil
}

// createBucketACL takes the headers of CreateBucket into b's settings. An ACL without
// an ObjectOwnership means one that allows ACLs.
func (r *request) createBucketACL(b *store.Bucket) error {
	acl, err := headerACL(r.Header)
	if err != nil {
		return err
	}
	value := r.Header.Get("X-Amz-Object-Ownership")
	switch {
	case value == "" && acl != nil:
		value = ownerPreferred
	case value == "":
		value = ownerEnforced
	case !oneOf(value, ownerEnforced, ownerPreferred, objectWriter):
		return fail("InvalidArgument", "Invalid x-amz-object-ownership header: "+value).with("ArgumentName", "x-amz-object-ownership")
	}
	if acl != nil {
		if value == ownerEnforced && len(acl.AccessControlList.Grant) > 1 {
			return fail("InvalidBucketAclWithObjectOwnership")
		}
		if err := setDocument(b, aclDocument, acl); err != nil {
			return err
		}
	}
	return setDocument(b, ownershipDocument, newOwnership(value))
}

func (r *request) getBucketACL() error {
	acl, err := bucketACL(&r.settings)
	if err != nil {
		return err
	}
	return r.writeACL(acl)
}

func (r *request) writeACL(acl *aclXML) error {
	acl.Xmlns = namespace
	return r.writeXML(http.StatusOK, acl)
}

func (r *request) putBucketACL() error {
	acl, err := r.readACL()
	if err != nil {
		return err
	}
	if err := r.blocked(acl); err != nil {
		return err
	}
	return r.ok(r.putDocument(aclDocument, acl))
}

// isDefault reports whether an ACL gives the owner everything, and nobody anything.
func (a *aclXML) isDefault() bool {
	if a.Owner == nil || a.AccessControlList == nil {
		return false
	}
	grants := a.AccessControlList.Grant
	return a.Owner.ID == owner && len(grants) == 1 && grants[0].Grantee.ID == owner && grants[0].Permission == "FULL_CONTROL"
}

// readACL reads the ACL of a request, which stands in its headers or its body.
func (r *request) readACL() (*aclXML, error) {
	body, err := r.readDocument()
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	value, err := ownership(&r.settings)
	if err != nil {
		return nil, err
	}
	acl, headerErr := headerACL(r.Header)
	if value == ownerEnforced {
		// What is as the default is accepted, for some clients always send it.
		var document aclXML
		if headerErr == nil && acl == nil && len(body) > 0 && decodeXML(body, &document) == nil && document.isDefault() {
			return &document, nil
		}
		if headerErr != nil || acl == nil || len(acl.AccessControlList.Grant) > 1 || len(body) > 0 {
			return nil, fail("AccessControlListNotSupported")
		}
		return acl, nil
	}
	switch {
	case headerErr != nil:
		return nil, headerErr
	case acl != nil && len(body) > 0:
		return nil, fail("UnexpectedContent")
	case acl != nil:
		return acl, nil
	case len(body) == 0:
		return nil, fail("MissingSecurityHeader")
	}
	var document aclXML
	if err := decodeXML(body, &document); err != nil {
		return nil, fail("MalformedACLError")
	}
	return &document, document.check()
}

// blocked refuses an ACL that is public where the bucket's public access block
// does.
func (r *request) blocked(acl *aclXML) error {
	block, err := accessBlock(&r.settings)
	if err == nil && block.BlockPublicAcls && acl.anyPublic() {
		return fail("AccessDenied")
	}
	return err
}

// getObjectACL answers for an object, all of which belong to the owner and have no
// ACL of their own.
func (r *request) getObjectACL() error {
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, r.query.Get("versionId"))
	if err != nil {
		return err
	}
	if info.Version != store.Null {
		r.w.Header().Set("X-Amz-Version-Id", info.Version)
	}
	return r.writeACL(newACL())
}

// putObjectACL accepts what changes nothing. An object's own ACL is not kept, and to
// acknowledge a public one would be untrue.
func (r *request) putObjectACL() error {
	if _, err := r.h.store.Head(r.Context(), r.bucket, r.key, r.query.Get("versionId")); err != nil {
		return err
	}
	acl, err := r.readACL()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(acl.AccessControlList.Grant, func(g grantXML) bool { return g.Grantee.ID != owner }) {
		return notImplemented("An ACL of an object")
	}
	return r.ok(nil)
}
