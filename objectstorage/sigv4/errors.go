package sigv4

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// An Error is a refusal, as S3 words it.
type Error struct {
	Code    string // S3's: "SignatureDoesNotMatch"
	Message string // for people; some clients compare it
	Status  int    // of the HTTP response
	Extra   []Field
}

// A Field is an element of the error document beside Code and Message, in the order
// in which they are to be written.
type Field struct{ Name, Value string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(status int, code, message string, extra ...Field) *Error {
	return &Error{Code: code, Message: message, Status: status, Extra: extra}
}

func invalidRequest(message string) *Error {
	return refuse(http.StatusBadRequest, "InvalidRequest", message)
}

func invalidArgument(name, value, message string) *Error {
	return refuse(http.StatusBadRequest, "InvalidArgument", message, Field{"ArgumentName", name}, Field{"ArgumentValue", value})
}

func denied(message string, extra ...Field) *Error {
	return refuse(http.StatusForbidden, "AccessDenied", message, extra...)
}

func malformedHeader(format string, args ...any) *Error {
	return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+fmt.Sprintf(format, args...))
}

func malformedQuery(format string, args ...any) *Error {
	return refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", fmt.Sprintf(format, args...))
}

func errMechanism() *Error {
	return invalidRequest("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errTwoMechanisms(value string) *Error {
	return invalidArgument("Authorization", value, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
}

func errDate() *Error {
	return denied("AWS authentication requires a valid Date or x-amz-date header.")
}

func errSkewed(sent string, now time.Time, allowed time.Duration) *Error {
	return refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
		Field{"RequestTime", sent}, Field{"ServerTime", now.UTC().Format(time.RFC3339)},
		Field{"MaxAllowedSkewMilliseconds", fmt.Sprint(allowed.Milliseconds())})
}

func errAccessKey(accessKey string) *Error {
	return refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", Field{"AWSAccessKeyId", accessKey})
}

func errToken() *Error {
	return refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
}

// errSignature tells the client what was signed here, so that it can see where it
// went another way. It holds no secret: the string to sign is made of the request.
func errSignature(accessKey, provided string, toSign, canonical []byte) *Error {
	extra := []Field{
		{"AWSAccessKeyId", accessKey},
		{"StringToSign", string(toSign)},
		{"SignatureProvided", provided},
		{"StringToSignBytes", spacedHex(toSign)},
	}
	if canonical != nil {
		extra = append(extra, Field{"CanonicalRequest", string(canonical)}, Field{"CanonicalRequestBytes", spacedHex(canonical)})
	}
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch",
		"The request signature we calculated does not match the signature you provided. Check your key and signing method.", extra...)
}

func errIncomplete() *Error {
	return refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
}

func errLength() *Error {
	return refuse(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func errTrailer() *Error {
	return refuse(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

// spacedHex writes bytes as S3 does in its errors: "47 45 54".
func spacedHex(b []byte) string {
	out := make([]byte, 0, 3*len(b))
	for i := range b {
		if i > 0 {
			out = append(out, ' ')
		}
		out = hex.AppendEncode(out, b[i:i+1])
	}
	return string(out)
}
