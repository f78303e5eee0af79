package s3api

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/objectstorage/store"
)

// expectedOwner is the header with which a client makes sure whose bucket it is.
const expectedOwner = "X-Amz-Expected-Bucket-Owner"

// authorize lets a request pass or returns why not, and loads the bucket's
// settings. Who signed may do all that the bucket's policy does not deny; who did
// not, what the operation's needs, a public ACL or the policy allow.
func (r *request) authorize() error {
	if r.anonymous() && r.op.needs == needsSignature {
		return r.refuse()
	}
	if r.op.bucketless || r.op.form { // a form is its own signature, and says who it is when it is read
		return nil
	}
	if err := r.loadBucket(); err != nil || r.op.perKey {
		return err
	}
	return r.permit(r.action(), r.key)
}

// action is what a policy calls the request's operation. Where it names a version,
// the action of many has another name; of an operation on several keys each says for
// itself, since versionId in its query means nothing.
func (r *request) action() string {
	if versioned := versionActions[r.op.action]; versioned != "" && r.query.Get("versionId") != "" {
		return versioned
	}
	return r.op.action
}

// An Ask is what another door wants to do for somebody who did not sign.
type Ask struct {
	Request *http.Request
	Bucket  store.Bucket
	Key     string
	// Action is that of a policy, "s3:PutObject" for one. Write says that an open
	// bucket has to be open for writing.
	Action string
	Write  bool
}

// PermitAnonymous returns nil where the bucket's policy, public access block, ACL and
// settings let a request without a signature do what a asks for, and otherwise an
// error that says why not.
func (h *Handler) PermitAnonymous(a Ask) error {
	op := &operation{name: strings.TrimPrefix(a.Action, "s3:"), action: a.Action, needs: needsRead}
	if a.Write {
		op.needs = needsWrite
	}
	r := &request{Request: a.Request, h: h, op: op, bucket: a.Bucket.Name, key: a.Key, settings: a.Bucket}
	return r.permit(a.Action, a.Key)
}

// loadBucket sets the bucket's settings, if there is the bucket and it is whose the
// client takes it for.
func (r *request) loadBucket() (err error) {
	if r.settings, err = r.h.store.GetBucket(r.Context(), r.bucket); err != nil {
		return err
	}
	if v := r.Header.Get(expectedOwner); v != "" && v != owner && (r.identity == nil || v != r.identity.AccessKey) {
		return fail("AccessDenied")
	}
	return nil
}

// permit decides an action of the request's operation on a key of its bucket; empty:
// on the bucket itself. An operation on several keys asks for each.
func (r *request) permit(action, key string) error {
	if !r.anonymous() && oneOf(action, "s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy") {
		return nil // the owner is never locked out
	}
	said, err := r.policySays(action, key)
	switch {
	case err != nil:
		return err
	case said == deny && !r.anonymous():
		return failf("AccessDenied", "User: %s is not authorized to perform: %s on resource: %q with an explicit deny in a resource-based policy",
			r.identity.AccessKey, action, r.resource(key))
	case said == deny:
		return r.refuse()
	case !r.anonymous():
		return nil
	}
	return r.permitAnonymous(said)
}

// permitAnonymous decides for a request that nobody signed and no policy denies.
func (r *request) permitAnonymous(said effect) error {
	block, err := accessBlock(&r.settings)
	if err != nil {
		return err
	}
	if said == allow && !block.RestrictPublicBuckets {
		if oneOf(r.op.action, "s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy") {
			return r.methodNotAllowed("BUCKETPOLICY")
		}
		return nil
	}
	if !block.IgnorePublicAcls {
		acl, err := bucketACL(&r.settings)
		if err != nil {
			return err
		}
		if r.op.needs == needsRead && acl.public(permissionRead) || r.op.needs == needsWrite && acl.public(permissionWrite) {
			return nil
		}
	}
	switch mode := r.settings.Anonymous; {
	case r.op.needs == needsRead && oneOf(mode, "read", "read-write"):
		return nil
	case r.op.needs == needsWrite && oneOf(mode, "write", "read-write"):
		// Open buckets are for the programs of the machine. Without this, any
		// page that its user visits could write to them.
		elsewhere, err := r.fromElsewhere()
		if err != nil {
			return err
		}
		if elsewhere {
			return fail("AccessDenied", "A page of another site writes without a signature only where the bucket's CORS rules allow it.")
		}
		return nil
	}
	return r.refuse()
}

// policySays asks the bucket's policy.
func (r *request) policySays(action, key string) (effect, error) {
	p, err := r.bucketPolicy()
	if err != nil || p == nil {
		return nothing, err
	}
	q := &policyQuestion{action: action, resource: r.resource(key), context: r.conditionContext}
	if !r.anonymous() {
		q.principal = r.identity.AccessKey
	}
	return p.decide(q), nil
}

// resource is the ARN of a key, or of the bucket.
func (r *request) resource(key string) string {
	if key == "" {
		return bucketARN(r.bucket)
	}
	return bucketARN(r.bucket) + "/" + key
}

// conditionContext returns what a request has for a condition key of a policy.
func (r *request) conditionContext(key string) []string {
	one := func(v string) []string {
		if v == "" {
			return nil
		}
		return []string{v}
	}
	present := func(name string) []string { return r.query[name] }
	switch key {
	case "aws:sourceip":
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return one(host)
	case "aws:currenttime":
		return one(r.h.Now().UTC().Format(time.RFC3339))
	case "aws:epochtime":
		return one(strconv.FormatInt(r.h.Now().Unix(), 10))
	case "aws:securetransport":
		return one(strconv.FormatBool(r.TLS != nil))
	case "aws:useragent":
		return one(r.UserAgent())
	case "aws:referer":
		return one(r.Referer())
	case "s3:prefix", "s3:delimiter", "s3:max-keys":
		return present(strings.TrimPrefix(key, "s3:"))
	case "s3:x-amz-acl":
		return r.Header.Values("X-Amz-Acl")
	case "s3:versionid":
		return present("versionId")
	}
	if r.anonymous() {
		return nil
	}
	switch key {
	case "aws:username", "aws:userid":
		return one(r.identity.AccessKey)
	case "aws:principalarn":
		return one("arn:aws:iam::" + owner + ":user/" + r.identity.AccessKey)
	case "s3:authtype":
		if r.identity.Presigned {
			return one("REST-QUERY-STRING")
		}
		return one("REST-HEADER")
	}
	return nil
}

// refuse is what an anonymous request is told.
func (r *request) refuse() error {
	if r.op.name == "HeadBucket" {
		r.w.Header().Set("X-Amz-Bucket-Region", r.bucketRegion(&r.settings))
	}
	return fail("AccessDenied", r.op.refusal)
}
