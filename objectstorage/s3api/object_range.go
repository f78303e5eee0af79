package s3api

import (
	"strconv"
	"strings"
)

// span is a run of bytes of a body.
type span struct{ start, length int64 }

// parseRange reads a Range field for a body of size bytes. S3 serves one range;
// what is malformed, or more than one, it ignores (ok is false and err nil) and
// sends the whole body. A range without a byte of the body is InvalidRange.
func parseRange(field string, size int64) (s span, ok bool, err error) {
	set, is := strings.CutPrefix(field, "bytes=")
	if !is {
		return span{}, false, nil
	}
	first, last, is := strings.Cut(set, "-")
	if !is || strings.Contains(set, ",") {
		return span{}, false, nil
	}
	if first == "" { // the last bytes
		n, is := digits(last)
		if !is {
			return span{}, false, nil
		}
		if n == 0 {
			return span{}, false, invalidRange(field, size)
		}
		if size == 0 {
			return span{}, false, nil // all there is, and no range to announce
		}
		n = min(n, size)
		return span{size - n, n}, true, nil
	}
	start, is := digits(first)
	if !is {
		return span{}, false, nil
	}
	end := size - 1
	if last != "" {
		n, is := digits(last)
		if !is || n < start {
			return span{}, false, nil
		}
		end = min(end, n)
	}
	if start >= size {
		return span{}, false, invalidRange(field, size)
	}
	return span{start, end - start + 1}, true, nil
}

func invalidRange(field string, size int64) error {
	return fail("InvalidRange").with("RangeRequested", field).with("ActualObjectSize", strconv.FormatInt(size, 10))
}

// digits reads a number of nothing but digits. One above the size of every
// object is the highest there is.
func digits(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// parseCopyRange reads x-amz-copy-source-range, which is stricter than Range:
// "bytes=first-last", both given and both within the source.
func parseCopyRange(field string, size int64) (span, error) {
	set, is := strings.CutPrefix(field, "bytes=")
	first, last, both := strings.Cut(set, "-")
	start, ok1 := digits(first)
	end, ok2 := digits(last)
	if !is || !both || !ok1 || !ok2 || end < start {
		return span{}, invalidArgument("x-amz-copy-source-range", field,
			"The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if end >= size {
		return span{}, invalidArgument("x-amz-copy-source-range", strconv.FormatInt(size, 10),
			"Range specified is not valid for source object of size: "+strconv.FormatInt(size, 10))
	}
	return span{start, end - start + 1}, nil
}
