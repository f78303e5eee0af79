// Package sigv4 is Signature Version 4 as Amazon S3 has it, on the side of the
// server: it says who sent a request and that nobody changed it, and it decodes the
// body that the signature covers. (Amazon S3 API reference, "Authenticating
// Requests: AWS Signature Version 4".)
//
// A request goes like this:
//
//	identity, err := verifier.Verify(r)   // Authorization, or a presigned URL
//	body, err := identity.Body(r)         // also where identity is nil: anonymous
//	... read body to its end; an *Error from it means that nothing of it is valid
//	value := body.Trailer("x-amz-checksum-crc32")
//
// and a form (POST of multipart/form-data) like this:
//
//	policy, err := verifier.VerifyPolicy(fields)  // nil, nil: anonymous
//	err = policy.Check(bucket, key, fields)
//	err = policy.CheckSize(size)
//
// # What is checked
//
// In the order in which a request is refused: that it has one mechanism of
// authentication, and not an older one; the date and the clock skew; the parts of
// the credential and its scope; that the access key exists; that the day of the
// scope is that of the date; that x-amz-content-sha256 is there and something known;
// that Host and every x-amz-… field are signed; the signature, in constant time; and,
// with a presigned URL, that it is valid now. The body is checked while it is read:
// its SHA-256 at the end or the signature of every chunk behind the chunk, so bytes
// are handed on before they are known to be good, and whoever keeps them must drop
// them on an error.
//
// # What is signed
//
// The path is the one that came over the wire, decoded and encoded again in the one
// canonical way and never cleaned, for "a//b/../c" is a key. Host is the request's
// own or, if the signature does not fit that, one of [Verifier.Hosts]; fields like
// X-Forwarded-Host are never believed.
//
// How a body is encoded is decided by x-amz-content-sha256 alone; Content-Encoding
// is the client's own label for its object.
//
// # What it does not do
//
// Signature V2 and V4A are refused, and so are session tokens: there are no
// temporary credentials here. Replay within the allowed skew is possible, as with S3.
package sigv4
