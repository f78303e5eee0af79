package http1

// A Response is the head of a response. All slices alias the buffer that was
// parsed; none may be written to.
type Response struct {
	Status int    // 100 to 599
	Reason []byte // may be empty
	Message
}

// Parse reads the head at the beginning of buf, as [Request.Parse] does. Every
// error has status 502.
//
// A response without the space before an empty reason is accepted, because
// widespread servers send it. A 1xx or 204 with "Content-Length: 0" is accepted
// for the same reason, and its length dropped; with any other length, or with
// Transfer-Encoding, it is refused (RFC 9110, section 8.6; RFC 9112, section
// 6.1).
func (r *Response) Parse(buf []byte, lim *Limits) (n int, err *Error) {
	r.reset()
	in := buf[:min(len(buf), lim.Head)]
	if n, err = r.readLine(in, lim.Line); n > 0 {
		n, err = r.readFields(in, n, lim.Fields)
	}
	if err == nil && n > 0 {
		err = r.finish()
	} else if err == nil && len(buf) >= lim.Head {
		err = errHeadLarge
	}
	if err != nil {
		return 0, err.upstream
	}
	return n, nil
}

// Framing says what body follows (RFC 9112, section 6.3), given whether the
// request was a HEAD. After UntilClose the connection is at its end, whatever
// KeepAlive says.
func (r *Response) Framing(head bool) (Body, int64) {
	switch {
	case head || r.Status < 200 || r.Status == 204 || r.Status == 304:
		return None, 0
	case r.Chunked:
		return ChunkedBody, 0
	case r.ContentLength >= 0:
		return Length, r.ContentLength
	}
	return UntilClose, 0
}

// readLine reads the status line. n is where the next line begins, or 0.
func (r *Response) readLine(buf []byte, most int) (n int, err *Error) {
	i, err := r.readVersion(buf)
	if i == 0 {
		return 0, err
	}
	r.Status = 0
	for want := i + 4; i < want; i++ {
		switch {
		case i == len(buf):
			return 0, nil
		case i == want-4 && buf[i] == ' ':
		case i > want-4 && digit(buf[i]):
			r.Status = r.Status*10 + int(buf[i]-'0')
		default:
			return 0, errStatus
		}
	}
	if r.Status < 100 || r.Status > 599 {
		return 0, errStatus
	}
	r.Reason = nil
	if i < len(buf) && buf[i] == ' ' {
		start := i + 1
		i = textEnd(buf, start)
		r.Reason = buf[start:i:i]
	} else if i < len(buf) && !control[buf[i]] {
		return 0, errStatus
	}
	n, err = lineEnd(buf, i, errReason)
	if i > most {
		return 0, errLineLong
	}
	return n, err
}

// finish draws the conclusions from a complete head.
func (r *Response) finish() *Error {
	if err := r.Message.finish(); err != nil {
		return err
	}
	if r.Status < 200 || r.Status == 204 {
		switch {
		case r.Chunked:
			return errCodingStatus
		case r.ContentLength > 0:
			return errLengthStatus
		}
		r.ContentLength = -1
	}
	return nil
}
