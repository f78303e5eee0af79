package sigv4

import (
	"strings"
	"time"
)

// scope is a credential: an access key and what its signing key is good for.
type scope struct {
	accessKey string
	day       string // yyyymmdd
	region    string
	full      string // day/region/s3/aws4_request
}

func (s scope) String() string { return s.full }

// scopeErrors are the ways to say what is wrong with a credential: in a header, in
// a query and in a form, S3 has other words for the same.
type scopeErrors struct {
	malformed  func() *Error
	service    func(got string) *Error
	terminator func(got string) *Error
	day        func(got string) *Error
	region     func(got, want string) *Error
}

const (
	sayMalformed  = `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
	sayService    = `incorrect service %q. This endpoint belongs to "s3".`
	sayTerminator = `incorrect terminal %q. This endpoint uses "aws4_request".`
	sayDay        = `incorrect date format %q. This date in the credential must be in the format "yyyyMMdd".`
	sayRegion     = "the region %q is wrong; expecting %q"
)

func headerScope() scopeErrors {
	return scopeErrors{
		malformed:  func() *Error { return malformedHeader(sayMalformed) },
		service:    func(got string) *Error { return malformedHeader(sayService, got) },
		terminator: func(got string) *Error { return malformedHeader(sayTerminator, got) },
		day:        func(got string) *Error { return malformedHeader(sayDay, got) },
		region: func(got, want string) *Error {
			e := malformedHeader(sayRegion, got, want)
			e.Extra = []Field{{"Region", want}}
			return e
		},
	}
}

func queryScope() scopeErrors {
	const where = "Error parsing the X-Amz-Credential parameter; "
	return scopeErrors{
		malformed:  func() *Error { return malformedQuery(where + sayMalformed) },
		service:    func(got string) *Error { return malformedQuery(where+sayService, got) },
		terminator: func(got string) *Error { return malformedQuery(where+sayTerminator, got) },
		day:        func(got string) *Error { return malformedQuery(where+sayDay, got) },
		region: func(got, want string) *Error {
			e := malformedQuery(where+sayRegion, got, want)
			e.Extra = []Field{{"Region", want}}
			return e
		},
	}
}

// parseScope reads KEY/yyyymmdd/region/s3/aws4_request.
func parseScope(credential string, errs scopeErrors) (scope, error) {
	accessKey, full, _ := strings.Cut(credential, "/")
	parts := strings.Split(full, "/")
	switch {
	case len(parts) != 4 || accessKey == "" || parts[1] == "":
		return scope{}, errs.malformed()
	case parts[2] != service:
		return scope{}, errs.service(parts[2])
	case parts[3] != terminator:
		return scope{}, errs.terminator(parts[3])
	}
	if _, err := time.Parse(day, parts[0]); err != nil {
		return scope{}, errs.day(parts[0])
	}
	return scope{accessKey: accessKey, day: parts[0], region: parts[1], full: full}, nil
}

func (v *Verifier) checkRegion(s scope, errs scopeErrors) error {
	if v.Region != "" && s.region != v.Region {
		return errs.region(s.region, v.Region)
	}
	return nil
}

// checkDay wants the day of the scope to be that of the date: otherwise one stolen
// signing key of a day would be good for every day.
func (c claim) checkDay() error {
	if strings.HasPrefix(c.date, c.day) {
		return nil
	}
	if c.presigned {
		return malformedQuery("Invalid credential date %q. This date is not the same as X-Amz-Date: %q.", c.day, c.date[:len(day)])
	}
	return malformedHeader("The authorization header is malformed; Invalid credential date. Date is not the same as X-Amz-Date.")
}
