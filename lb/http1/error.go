package http1

// An Error is why a message is refused. Its values are static: to return one
// allocates nothing, and two of them may be compared.
type Error struct {
	// Status is what a client is to be answered: of a request 400, 414, 417,
	// 431, 501 or 505, of a response 502.
	Status int
	// Reason is a full sentence that says what was wrong. It quotes nothing of
	// the message.
	Reason string

	upstream *Error
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Upstream returns the same reason with status 502, for what came from an
// upstream. [Response.Parse] has done so already; a [Decoder], which does not
// know whose body it reads, has not.
func (e *Error) Upstream() *Error { return e.upstream }

func refuse(status int, reason string) *Error {
	bad := &Error{Status: 502, Reason: reason}
	bad.upstream = bad
	return &Error{Status: status, Reason: reason, upstream: bad}
}

// Of any line.
var (
	errBareLF    = refuse(400, "A line ends with a bare LF.")
	errBareCR    = refuse(400, "A CR stands without an LF after it.")
	errHeadLarge = refuse(431, "The head is too large.")
)

// Of the request line and the status line.
var (
	errEmptyLines     = refuse(400, "More than one empty line precedes the request line.")
	errMethod         = refuse(400, "The method is not a token followed by one space.")
	errMethodLong     = refuse(501, "The method is longer than 32 bytes.")
	errConnect        = refuse(501, "CONNECT is not implemented.")
	errTargetEmpty    = refuse(400, "The method and the request target are not separated by exactly one space.")
	errTargetSpace    = refuse(400, "The request target and the HTTP version are not separated by exactly one space.")
	errTargetByte     = refuse(400, "The request target has a control character, a byte outside ASCII or a number sign.")
	errTargetEscape   = refuse(400, "The path has a percent sign without two hexadecimal digits after it.")
	errTargetForm     = refuse(400, "The request target is neither a path nor an http or https URI.")
	errTargetAsterisk = refuse(400, "The request target is an asterisk, and the method is not OPTIONS.")
	errLineLong       = refuse(414, "The first line is too long.")
	errNoVersion      = refuse(400, "The request line has no HTTP version.")
	errVersion        = refuse(400, "The HTTP version is malformed.")
	errVersionOther   = refuse(505, "The HTTP version is not 1.0 or 1.1.")
	errStatus         = refuse(400, "The status is not three digits from 100 to 599 after exactly one space.")
	errReason         = refuse(400, "The reason phrase has a control character.")
)

// Of the field lines.
var (
	errFields         = refuse(431, "There are too many fields.")
	errFieldNoName    = refuse(400, "A field has an empty name.")
	errFieldName      = refuse(400, "A field name is not a token followed by a colon.")
	errSpaceColon     = refuse(400, "White space stands between a field name and its colon.")
	errSpaceFirst     = refuse(400, "White space precedes the first field.")
	errFold           = refuse(400, "A field is folded over more than one line.")
	errFieldValue     = refuse(400, "A field value has a control character.")
	errLengthMany     = refuse(400, "Content-Length is there more than once.")
	errLength         = refuse(400, "Content-Length is not a decimal number.")
	errLengthLarge    = refuse(400, "Content-Length is too large a number.")
	errLengthCoding   = refuse(400, "Content-Length and Transfer-Encoding are both there.")
	errLengthStatus   = refuse(400, "A response without content has a Content-Length other than 0.")
	errCoding         = refuse(400, "Transfer-Encoding is malformed.")
	errCodingUnknown  = refuse(501, "Transfer-Encoding names a coding other than chunked.")
	errCodingOld      = refuse(400, "Transfer-Encoding is there in a message of HTTP/1.0.")
	errCodingStatus   = refuse(400, "A response that has no content by its status has a Transfer-Encoding.")
	errChunkedTwice   = refuse(400, "Transfer-Encoding names chunked more than once.")
	errChunkedNotLast = refuse(400, "Transfer-Encoding does not name chunked last.")
	errOption         = refuse(400, "Connection has an option that is not a token.")
	errOptions        = refuse(400, "Connection has too many options.")
	errHostMissing    = refuse(400, "Host is missing.")
	errHostMany       = refuse(400, "Host is there more than once.")
	errHost           = refuse(400, "Host is not a host name or an IP address with an optional port.")
	errHostOther      = refuse(400, "Host contradicts the request target.")
	errTargetHost     = refuse(400, "The authority of the request target is not a host name or an IP address with an optional port.")
	errExpect         = refuse(417, "Expect names something other than 100-continue.")
)

// Of chunked bodies.
var (
	errChunkSize      = refuse(400, "A chunk size is not a hexadecimal number.")
	errChunkSizeLarge = refuse(400, "A chunk size has too many digits or is too large a number.")
	errChunkSpace     = refuse(400, "White space stands after a chunk size without an extension.")
	errChunkExt       = refuse(400, "A chunk extension has a control character.")
	errChunkExtLong   = refuse(400, "A chunk extension is too long.")
	errChunkExtTotal  = refuse(400, "The chunk extensions of the body are too long together.")
	errChunkEnd       = refuse(400, "The data of a chunk do not end with CRLF where its size says.")
	errTrailerLarge   = refuse(431, "The trailer section is too large.")
)
