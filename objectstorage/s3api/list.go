package s3api

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/store"
)

// A listing is what the three listings of keys have in common: their arguments.
type listing struct {
	prefix, delimiter string
	limit             int
	encoded           bool // encoding-type=url: names are percent-encoded
}

func (r *request) listing(negative string) (l listing, err error) {
	l.prefix, l.delimiter = r.query.Get("prefix"), r.query.Get("delimiter")
	switch v := r.query.Get("encoding-type"); v {
	case "":
	case "url":
		l.encoded = true
	default:
		return l, invalidArgument("encoding-type", v, "Invalid Encoding Method specified in Request")
	}
	value := r.query.Get("max-keys")
	if negative != "" && len(value) > 1 && value[0] == '-' {
		return l, invalidArgument("maxKeys", value, negative)
	}
	l.limit, err = limit("max-keys", value)
	return l, err
}

// query asks the store for the page behind after. A page of no entries, which S3
// allows, is not asked for.
func (l *listing) query(after string) store.Query {
	return store.Query{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Limit: l.limit}
}

// name is a key or a part of one as the document shall have it.
func (l *listing) name(s string) string {
	if !l.encoded {
		return s
	}
	return percentEncode(s)
}

// percentEncode encodes a key for encoding-type=url, as a URL's path has it: a slash
// stays, and a space is %20, which every decoder takes for one.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' || c == '/' || c == '*' {
			if b != nil {
				b = append(b, c)
			}
			continue
		}
		if b == nil {
			b = append(make([]byte, 0, len(s)+16), s[:i]...)
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	if b == nil {
		return s
	}
	return string(b)
}

// listObjects answers version 1 of the listing, where the client goes on behind a
// key of its own choice.
func (r *request) listObjects() error {
	l, err := r.listing("")
	if err != nil {
		return err
	}
	marker := r.query.Get("marker")
	page, err := r.page(&l, marker)
	if err != nil {
		return err
	}
	x := newDocument("ListBucketResult")
	x.text("Name", r.bucket)
	x.optional("Prefix", l.name(l.prefix))
	x.optional("Marker", l.name(marker))
	x.optional("NextMarker", l.name(page.Next))
	l.head(x, page.Next != "")
	for i := range page.Objects {
		l.contents(x, &page.Objects[i], true)
	}
	l.prefixes(x, page.Prefixes)
	return r.writeDocument(x)
}

// listObjectsV2 answers version 2, where the client goes on with a token of ours.
func (r *request) listObjectsV2() error {
	l, err := r.listing("")
	if err != nil {
		return err
	}
	after, token := r.query.Get("start-after"), r.query.Get("continuation-token")
	from := after
	if r.query.Has("continuation-token") {
		if from, err = parseToken(token); err != nil {
			return err
		}
	}
	page, err := r.page(&l, from)
	if err != nil {
		return err
	}
	x := newDocument("ListBucketResult")
	x.text("Name", r.bucket)
	x.optional("Prefix", l.name(l.prefix))
	x.text("KeyCount", strconv.Itoa(len(page.Objects)+len(page.Prefixes)))
	x.optional("StartAfter", l.name(after))
	x.optional("ContinuationToken", token)
	if page.Next != "" {
		x.text("NextContinuationToken", newToken(page.Next))
	}
	l.head(x, page.Next != "")
	owned := r.query.Get("fetch-owner") == "true"
	for i := range page.Objects {
		l.contents(x, &page.Objects[i], owned)
	}
	l.prefixes(x, page.Prefixes)
	return r.writeDocument(x)
}

// page asks the store.
func (r *request) page(l *listing, after string) (store.Page, error) {
	if l.limit == 0 {
		return store.Page{}, nil
	}
	return r.h.store.List(r.Context(), r.bucket, l.query(after))
}

// head writes the elements that all listings have.
func (l *listing) head(x *document, truncated bool) {
	x.text("MaxKeys", strconv.Itoa(l.limit))
	x.optional("Delimiter", l.name(l.delimiter))
	if l.encoded {
		x.text("EncodingType", "url")
	}
	x.text("IsTruncated", strconv.FormatBool(truncated))
}

// contents writes an object.
func (l *listing) contents(x *document, o *store.Info, owned bool) {
	x.open("Contents")
	x.text("Key", l.name(o.Key))
	x.text("LastModified", timestamp(o.Modified))
	x.text("ETag", quoted(o.ETag))
	if o.Checksum.Algorithm != "" {
		x.text("ChecksumAlgorithm", o.Checksum.Algorithm)
		x.text("ChecksumType", o.Checksum.Type)
	}
	x.text("Size", strconv.FormatInt(o.Size, 10))
	if owned {
		x.owner("Owner")
	}
	x.text("StorageClass", storageClass(o.StorageClass))
	x.close("Contents")
}

func (l *listing) prefixes(x *document, prefixes []string) {
	for _, p := range prefixes {
		x.open("CommonPrefixes")
		x.text("Prefix", l.name(p))
		x.close("CommonPrefixes")
	}
}

// The continuation token is the last entry of the page before, behind a sum that
// tells a token from something else. It is no secret: whoever makes one up gets
// to see what a start-after would show.
//
//	base64url( crc32c(entry) ++ entry )

var tokenTable = crc32.MakeTable(crc32.Castagnoli)

func newToken(after string) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(after)), crc32.Checksum([]byte(after), tokenTable))
	return base64.RawURLEncoding.EncodeToString(append(b, after...))
}

func parseToken(token string) (after string, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	// The decoder skips line breaks, which no token of ours has.
	if err != nil || strings.ContainsAny(token, "\r\n") || len(b) <= 4 || len(b) > 4+store.MaxKey || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], tokenTable) {
		return "", invalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return string(b[4:]), nil
}

// writeDocument answers 200 with a finished document.
func (r *request) writeDocument(x *document) error {
	body := x.finish()
	h := r.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	r.w.WriteHeader(http.StatusOK)
	_, _ = r.w.Write(body) // a client that went away is told nothing
	return nil
}
