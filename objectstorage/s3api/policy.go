package s3api

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"minicloud.internal/objectstorage/store"
)

// maxPolicy bounds a bucket policy, in bytes, as S3 has it.
const maxPolicy = 20 << 10

// A policy is a bucket's (IAM user guide, "JSON policy element reference"). There is
// one account, so that it decides what requests without a signature may do, and
// which of the others are denied.
type policy struct {
	Version   *string
	ID        string `json:"Id"`
	Statement statements
}

type statement struct {
	Sid       string
	Effect    string
	Principal *principals
	Action    oneOrMany
	Resource  oneOrMany
	Condition conditions
	// Those that turn their condition round are known and refused: they allow
	// more than a reader expects.
	NotPrincipal json.RawMessage
	NotAction    json.RawMessage
	NotResource  json.RawMessage
}

// statements are one or many, as the grammar of policies has it.
type statements []statement

func (s *statements) UnmarshalJSON(b []byte) error { return unmarshalOneOrMany((*[]statement)(s), b) }

// oneOrMany is a string or a list of strings.
type oneOrMany []string

func (s *oneOrMany) UnmarshalJSON(b []byte) error { return unmarshalOneOrMany((*[]string)(s), b) }

func unmarshalOneOrMany[T any](to *[]T, b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		return strictJSON(b, to)
	}
	*to = make([]T, 1)
	return strictJSON(b, &(*to)[0])
}

// principals are those that a statement is about: "*", or accounts under "AWS".
type principals struct{ AWS oneOrMany }

func (p *principals) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		var object struct{ AWS oneOrMany }
		if err := strictJSON(b, &object); err != nil {
			return err
		}
		p.AWS = object.AWS
		return nil
	}
	return p.AWS.UnmarshalJSON(b)
}

// strictJSON decodes one value, without unknown fields.
func strictJSON(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("more than one value")
	}
	return nil
}

func malformedPolicy(message string) error { return fail("MalformedPolicy", message) }

// parsePolicy reads and validates a policy for a bucket. known reports whether a
// principal exists.
func parsePolicy(body []byte, bucket string, known func(principal string) bool) (*policy, error) {
	if len(body) == 0 || body[0] != '{' {
		return nil, malformedPolicy("Policies must be valid JSON and the first byte must be '{'")
	}
	var p policy
	if err := strictJSON(body, &p); err != nil {
		return nil, malformedPolicy("This policy contains invalid Json")
	}
	switch {
	case p.Version != nil && !oneOf(*p.Version, "2008-10-17", "2012-10-17"):
		return nil, malformedPolicy("The policy must contain a valid version string")
	case p.Statement == nil:
		return nil, malformedPolicy("Missing required field Statement")
	case len(p.Statement) == 0:
		return nil, malformedPolicy("Could not parse the policy: Statement is empty!")
	}
	for i := range p.Statement {
		if err := p.Statement[i].check(bucket, known); err != nil {
			return nil, err
		}
	}
	return &p, nil
}

func (s *statement) check(bucket string, known func(string) bool) error {
	switch {
	case s.NotPrincipal != nil, s.NotAction != nil, s.NotResource != nil:
		return notImplemented("NotPrincipal, NotAction and NotResource in a policy")
	case s.Effect != "Allow" && s.Effect != "Deny":
		return malformedPolicy("Invalid effect: " + s.Effect)
	case s.Principal == nil || len(s.Principal.AWS) == 0 || len(s.Principal.AWS) > 1 && slices.Contains(s.Principal.AWS, "*"):
		return malformedPolicy("Invalid principal in policy")
	}
	for _, principal := range s.Principal.AWS {
		if principal != "*" && !known(principal) {
			return malformedPolicy("Invalid principal in policy")
		}
	}
	if err := s.checkActions(); err != nil {
		return err
	}
	onBucket, onObjects, err := s.checkResources(bucket)
	if err != nil {
		return err
	}
	if err := s.Condition.check(s.Action); err != nil {
		return err
	}
	for _, a := range s.Action {
		bucketLevel, objectLevel := actionLevels(a)
		if !(bucketLevel && onBucket) && !(objectLevel && onObjects) {
			return malformedPolicy("Action does not apply to any resource(s) in statement")
		}
	}
	return nil
}

func (s *statement) checkActions() error {
	if len(s.Action) == 0 {
		return malformedPolicy("Policy has invalid action")
	}
	for _, a := range s.Action {
		if bucketLevel, objectLevel := actionLevels(a); !bucketLevel && !objectLevel {
			return malformedPolicy("Policy has invalid action")
		}
	}
	return nil
}

const arnPrefix = "arn:aws:s3:::"

// checkResources wants every resource to be in the bucket, and reports whether the
// bucket itself and whether objects are among them.
func (s *statement) checkResources(bucket string) (onBucket, onObjects bool, err error) {
	invalid := malformedPolicy("Policy has invalid resource")
	if len(s.Resource) == 0 {
		return false, false, invalid
	}
	for _, resource := range s.Resource {
		rest, ok := strings.CutPrefix(resource, arnPrefix)
		if !ok || rest == "" {
			return false, false, invalid
		}
		if strings.Contains(rest, "${") {
			return false, false, notImplemented("A policy variable")
		}
		name, _, object := strings.Cut(rest, "/")
		if !glob(name, bucket) {
			return false, false, invalid
		}
		// "bucket*" is the bucket, and all that begins with its name and a slash.
		onObjects = onObjects || object || strings.HasSuffix(name, "*")
		onBucket = onBucket || !object
	}
	return onBucket, onObjects, nil
}

// An effect is what a policy says to a request.
type effect int

const (
	nothing effect = iota
	allow
	deny
)

// decide evaluates p: a Deny that applies wins over every Allow.
func (p *policy) decide(q *policyQuestion) effect {
	answer := nothing
	for i := range p.Statement {
		s := &p.Statement[i]
		if !s.applies(q) {
			continue
		}
		if s.Effect == "Deny" {
			return deny
		}
		answer = allow
	}
	return answer
}

// A policyQuestion is what a policy is asked.
type policyQuestion struct {
	principal string // an access key; empty: anonymous
	action    string // "s3:GetObject"
	resource  string // an ARN
	// context returns the values of a condition key, in lower case; none: the
	// request does not have it.
	context func(key string) []string
}

func (s *statement) applies(q *policyQuestion) bool {
	principal := slices.ContainsFunc(s.Principal.AWS, func(p string) bool {
		return p == "*" || q.principal != "" && (p == q.principal || p == owner || p == ownerARN)
	})
	action := slices.ContainsFunc(s.Action, func(a string) bool { return glob(strings.ToLower(a), strings.ToLower(q.action)) })
	resource := slices.ContainsFunc(s.Resource, func(pattern string) bool { return glob(pattern, q.resource) })
	return principal && action && resource && s.Condition.hold(q.context)
}

// ownerARN is how a policy names the one account.
const ownerARN = "arn:aws:iam::" + owner + ":root"

// public reports whether p allows everybody something, without a condition on
// where the request comes from.
func (p *policy) public() bool {
	return slices.ContainsFunc(p.Statement, func(s statement) bool {
		return s.Effect == "Allow" && slices.Contains(s.Principal.AWS, "*") && !s.Condition.restricts()
	})
}

// glob reports whether s is as pattern has it, where * is any string and ? any
// one byte. It takes time in proportion to the product of their lengths at worst.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // where the last * stands, and what it has not taken yet
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// bucketPolicy is the bucket's policy; nil: it has none.
func (r *request) bucketPolicy() (*policy, error) {
	body, ok := r.settings.Documents[policyDocument]
	if !ok {
		return nil, nil
	}
	if r.policy != nil && r.policyOf == r.bucket {
		return r.policy, nil
	}
	var p policy
	if err := strictJSON(body, &p); err != nil {
		return nil, fmt.Errorf("read the policy of bucket %s: %w", r.bucket, err)
	}
	return &p, nil
}

// keepPolicy reads the policy once for all keys that the operation will ask about.
func (r *request) keepPolicy() (err error) {
	r.policy, err = r.bucketPolicy()
	r.policyOf = r.bucket
	return err
}

func (r *request) getBucketPolicy() error {
	body, ok := r.settings.Documents[policyDocument]
	if !ok {
		return fail("NoSuchBucketPolicy").with("BucketName", r.bucket)
	}
	r.w.Header().Set("Content-Type", "application/json")
	r.w.WriteHeader(http.StatusOK)
	_, _ = r.w.Write(body)
	return nil
}

func (r *request) putBucketPolicy() error {
	body, err := r.readDocument()
	if err != nil {
		return err
	}
	if len(body) > maxPolicy {
		return malformedPolicy("Policy exceeds the maximum allowed document size.")
	}
	p, err := parsePolicy(body, r.bucket, r.h.knownPrincipal)
	if err != nil {
		return err
	}
	return r.noContent(r.h.store.UpdateBucket(r.Context(), r.bucket, func(b *store.Bucket) error {
		block, err := accessBlock(b)
		if err != nil {
			return err
		}
		if block.BlockPublicPolicy && p.public() {
			return fail("AccessDenied")
		}
		setRaw(b, policyDocument, body)
		return nil
	}))
}

// knownPrincipal reports whether a policy may name a principal: one of the access
// keys, or the account.
func (h *Handler) knownPrincipal(principal string) bool {
	if principal == owner || principal == ownerARN {
		return true
	}
	if h.Verifier == nil || h.Verifier.Credentials == nil {
		return false
	}
	_, ok := h.Verifier.Credentials(principal)
	return ok
}

func (r *request) deleteBucketPolicy() error { return r.deleteDocument(policyDocument) }

func (r *request) getBucketPolicyStatus() error {
	p, err := r.bucketPolicy()
	if err != nil {
		return err
	}
	if p == nil {
		return fail("NoSuchBucketPolicy").with("BucketName", r.bucket)
	}
	return r.writeXML(http.StatusOK, &struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PolicyStatus"`
		IsPublic bool
	}{IsPublic: p.public()})
}
