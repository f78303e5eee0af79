package s3api

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// conditions are those of a statement: by operator and by key the values, of which
// one must fit (IAM user guide, "IAM JSON policy elements: Condition operators").
// All must hold.
type conditions map[string]map[string]conditionValues

// conditionValues are strings in the document, or numbers and booleans.
type conditionValues []string

func (v *conditionValues) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if err := unmarshalOneOrMany(&raw, b); err != nil {
		return err
	}
	*v = nil
	for _, one := range raw {
		var s string
		if len(one) > 0 && (one[0] == '{' || one[0] == '[' || string(one) == "null") {
			return json.Unmarshal(one, &s) // which fails, and says how
		}
		if json.Unmarshal(one, &s) != nil {
			s = string(one)
		}
		*v = append(*v, s)
	}
	return nil
}

// An operator compares one value of the request with one of the policy.
type operator struct {
	compare func(have, want string) bool
	// negated operators hold where no value fits, and where the key is absent.
	negated bool
}

// operators are those that are known, by their names without IfExists.
var operators = map[string]operator{
	"StringEquals":              {compare: func(have, want string) bool { return have == want }},
	"StringNotEquals":           {func(have, want string) bool { return have == want }, true},
	"StringEqualsIgnoreCase":    {compare: strings.EqualFold},
	"StringNotEqualsIgnoreCase": {strings.EqualFold, true},
	"StringLike":                {compare: func(have, want string) bool { return glob(want, have) }},
	"StringNotLike":             {func(have, want string) bool { return glob(want, have) }, true},
	"ArnEquals":                 {compare: func(have, want string) bool { return glob(want, have) }},
	"ArnNotEquals":              {func(have, want string) bool { return glob(want, have) }, true},
	"ArnLike":                   {compare: func(have, want string) bool { return glob(want, have) }},
	"ArnNotLike":                {func(have, want string) bool { return glob(want, have) }, true},
	"Bool":                      {compare: strings.EqualFold},
	"IpAddress":                 {compare: inNetwork},
	"NotIpAddress":              {inNetwork, true},
	"NumericEquals":             {compare: numeric(func(c int) bool { return c == 0 })},
	"NumericNotEquals":          {numeric(func(c int) bool { return c == 0 }), true},
	"NumericLessThan":           {compare: numeric(func(c int) bool { return c < 0 })},
	"NumericLessThanEquals":     {compare: numeric(func(c int) bool { return c <= 0 })},
	"NumericGreaterThan":        {compare: numeric(func(c int) bool { return c > 0 })},
	"NumericGreaterThanEquals":  {compare: numeric(func(c int) bool { return c >= 0 })},
	"DateEquals":                {compare: date(func(c int) bool { return c == 0 })},
	"DateNotEquals":             {date(func(c int) bool { return c == 0 }), true},
	"DateLessThan":              {compare: date(func(c int) bool { return c < 0 })},
	"DateLessThanEquals":        {compare: date(func(c int) bool { return c <= 0 })},
	"DateGreaterThan":           {compare: date(func(c int) bool { return c > 0 })},
	"DateGreaterThanEquals":     {compare: date(func(c int) bool { return c >= 0 })},
}

func numeric(holds func(int) bool) func(have, want string) bool {
	return func(have, want string) bool {
		h, err1 := strconv.ParseFloat(have, 64)
		w, err2 := strconv.ParseFloat(want, 64)
		return err1 == nil && err2 == nil && holds(compareOrdered(h, w))
	}
}

func compareOrdered(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func date(holds func(int) bool) func(have, want string) bool {
	parse := func(s string) (time.Time, error) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), nil
		}
		return time.Parse(time.RFC3339, s)
	}
	return func(have, want string) bool {
		h, err1 := parse(have)
		w, err2 := parse(want)
		return err1 == nil && err2 == nil && holds(h.Compare(w))
	}
}

func inNetwork(have, want string) bool {
	ip, err := netip.ParseAddr(have)
	network, ok := parseNetwork(want)
	return err == nil && ok && network.Contains(ip.Unmap())
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if network, err := netip.ParsePrefix(s); err == nil {
		return network, true
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(ip, ip.BitLen()), true
}

// conditionKeys are the keys that requests have a value for, in lower case, each
// with the actions that it goes with; nil: any. A key of S3 that is not among them is
// refused: a condition that is kept and not applied would allow too much or too little.
var conditionKeys = map[string][]string{
	"aws:sourceip":        nil,
	"aws:currenttime":     nil,
	"aws:epochtime":       nil,
	"aws:securetransport": nil,
	"aws:useragent":       nil,
	"aws:referer":         nil,
	"aws:username":        nil,
	"aws:userid":          nil,
	"aws:principalarn":    nil,
	"s3:authtype":         nil,
	"s3:prefix":           {"s3:ListBucket", "s3:ListBucketVersions"},
	"s3:delimiter":        {"s3:ListBucket", "s3:ListBucketVersions"},
	"s3:max-keys":         {"s3:ListBucket", "s3:ListBucketVersions"},
	"s3:x-amz-acl":        {"s3:PutObject", "s3:PutBucketAcl", "s3:PutObjectAcl"},
	"s3:versionid": {"s3:GetObjectVersion", "s3:DeleteObjectVersion", "s3:GetObjectVersionAttributes", "s3:GetObjectVersionAcl",
		"s3:PutObjectVersionAcl", "s3:GetObjectVersionTagging", "s3:PutObjectVersionTagging", "s3:DeleteObjectVersionTagging"},
}

// otherConditionKeys are keys of S3 and of AWS that exist, and that requests here
// have no value for.
var otherConditionKeys = []string{"aws:multifactorauthage", "aws:multifactorauthpresent", "aws:principaltype",
	"aws:principalaccount", "aws:principalorgid", "aws:sourcevpc", "aws:sourcevpce", "aws:sourcearn", "aws:sourceaccount",
	"aws:tokenissuetime", "aws:requestedregion", "aws:viaawsservice", "aws:calledvia", "aws:principalisawsservice",
	"s3:signatureage", "s3:signatureversion", "s3:tlsversion", "s3:resourceaccount", "s3:locationconstraint",
	"s3:dataaccesspointarn", "s3:dataaccesspointaccount", "s3:accesspointnetworkorigin", "s3:object-lock-mode",
	"s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days", "s3:object-lock-legal-hold",
	"s3:x-amz-content-sha256", "s3:x-amz-copy-source", "s3:x-amz-metadata-directive", "s3:x-amz-server-side-encryption",
	"s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-customer-algorithm",
	"s3:x-amz-storage-class", "s3:x-amz-website-redirect-location", "s3:x-amz-object-ownership", "s3:x-amz-grant-read",
	"s3:x-amz-grant-write", "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write-acp", "s3:x-amz-grant-full-control",
	"s3:requestobjecttagkeys", "s3:if-match", "s3:if-none-match", "s3:objectcreationoperation"}

// conditionName takes an operator's name apart: "ForAnyValue:StringLikeIfExists".
func conditionName(name string) (op operator, base string, all, ifExists, ok bool) {
	base = name
	if qualifier, rest, found := strings.Cut(name, ":"); found {
		if qualifier != "ForAllValues" && qualifier != "ForAnyValue" {
			return operator{}, name, false, false, false
		}
		base, all = rest, qualifier == "ForAllValues"
	}
	if base == "Null" {
		return operator{}, base, all, false, true
	}
	base, ifExists = strings.CutSuffix(base, "IfExists")
	op, ok = operators[base]
	return op, base, all, ifExists, ok
}

// check validates the conditions of a statement with those actions.
func (c conditions) check(actions []string) error {
	for name, keys := range c {
		if _, _, _, _, ok := conditionName(name); !ok {
			return malformedPolicy("Invalid Condition type : " + name)
		}
		for key, values := range keys {
			if err := checkConditionKey(strings.ToLower(key), values, actions); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkConditionKey(key string, values, actions []string) error {
	goesWith, ok := conditionKeys[key]
	switch {
	case !ok && (slices.Contains(otherConditionKeys, key) || strings.HasPrefix(key, "s3:existingobjecttag/") ||
		strings.HasPrefix(key, "s3:requestobjecttag/") || strings.HasPrefix(key, "aws:principaltag/")):
		return notImplemented("The condition key " + key)
	case !ok:
		return malformedPolicy("Policy has an invalid condition key")
	}
	for _, action := range actions {
		if goesWith != nil && !strings.ContainsAny(action, "*?") &&
			!slices.ContainsFunc(goesWith, func(a string) bool { return strings.EqualFold(a, action) }) {
			return malformedPolicy("Conditions do not apply to combination of actions and resources in statement")
		}
	}
	for _, v := range values {
		if _, ok := parseNetwork(v); key == "aws:sourceip" && !ok {
			return malformedPolicy("Invalid IP address in Conditions")
		}
		if strings.Contains(v, "${") {
			return notImplemented("A policy variable")
		}
	}
	return nil
}

// hold reports whether all conditions do.
func (c conditions) hold(context func(string) []string) bool {
	for name, keys := range c {
		for key, want := range keys {
			if !holds(name, context(strings.ToLower(key)), want) {
				return false
			}
		}
	}
	return true
}

// holds evaluates one condition: have are the values of the request.
func holds(name string, have, want []string) bool {
	op, base, all, ifExists, ok := conditionName(name)
	if !ok {
		return false
	}
	if base == "Null" {
		return slices.Contains(want, strconv.FormatBool(len(have) == 0))
	}
	if len(have) == 0 {
		return ifExists || op.negated || all
	}
	fits := func(h string) bool {
		any := slices.ContainsFunc(want, func(w string) bool { return op.compare(h, w) })
		return any != op.negated
	}
	if all {
		return !slices.ContainsFunc(have, func(h string) bool { return !fits(h) })
	}
	return slices.ContainsFunc(have, fits)
}

// restricts reports whether the conditions name who may come: such an Allow for
// everybody is not public (S3 user guide, "The meaning of public").
func (c conditions) restricts() bool {
	for name, keys := range c {
		_, base, _, ifExists, _ := conditionName(name)
		if ifExists || !oneOf(base, "IpAddress", "StringEquals", "StringLike", "ArnEquals", "ArnLike") {
			continue
		}
		for key, values := range keys {
			if oneOf(strings.ToLower(key), "aws:sourceip", "aws:principalarn", "aws:userid", "aws:username") &&
				!slices.ContainsFunc(values, func(v string) bool { return strings.Trim(v, "*") == "" || oneOf(v, "0.0.0.0/0", "::/0") }) {
				return true
			}
		}
	}
	return false
}
