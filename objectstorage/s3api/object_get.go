package s3api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/gather"
	"minicloud.internal/objectstorage/store"
)

// getObject answers GET of an object: conditions, one range or one part, and then
// the bytes, which go from the file to the socket without passing through here
// where the store hands out a file.
func (r *request) getObject() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	if _, err := r.partNumber(); err != nil {
		return err
	}
	object, err := r.h.store.Get(r.Context(), r.bucket, r.key, version)
	if err != nil {
		var info *store.Info
		if object != nil {
			info = &object.Info
		}
		return r.readFailed(info, version, err)
	}
	defer object.Body.Close()
	part, status, err := r.describe(&object.Info)
	if err != nil {
		return err
	}
	if status == http.StatusNotModified {
		r.w.WriteHeader(status)
		return nil
	}
	if part.start > 0 {
		if _, err := object.Body.Seek(part.start, io.SeekStart); err != nil {
			return err
		}
	}
	memory, inMemory := object.Body.(io.WriterTo)
	send := func() (err error) {
		r.w.WriteHeader(status)
		if inMemory && part.start+part.length == object.Size {
			_, err = memory.WriteTo(r.w)
		} else {
			_, err = io.CopyN(receiver(r.w), object.Body, part.length)
		}
		return err
	}
	if inMemory {
		err = gather.Do(r.w, r.Request, send)
	} else {
		err = send()
	}
	if err != nil && r.Context().Err() == nil {
		return fmt.Errorf("send %s/%s: %w", r.bucket, r.key, err)
	}
	return nil
}

// headObject answers HEAD of an object, without opening its body.
func (r *request) headObject() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	if _, err := r.partNumber(); err != nil {
		return err
	}
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, version)
	if err != nil {
		return r.readFailed(&info, version, err)
	}
	_, status, err := r.describe(&info)
	if err != nil {
		return err
	}
	r.w.WriteHeader(status)
	return nil
}

// receiver finds the writer that can take a file without copying. Those around it
// keep account of headers, which are out by now, and hide it.
func receiver(w http.ResponseWriter) io.Writer {
	for inner := w; ; {
		if _, ok := inner.(io.ReaderFrom); ok {
			return inner
		}
		wrapper, ok := inner.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		inner = wrapper.Unwrap()
	}
}

// version returns the version that a request names, empty for the latest.
func (r *request) version() (string, error) {
	v := r.query.Get("versionId")
	if v == "" && r.query.Has("versionId") {
		return "", invalidArgument("versionId", "", "Version id cannot be the empty string")
	}
	return v, nil
}

// readFailed is the answer where a version cannot be read. Of a delete marker it
// tells in the headers that it is one; info is nil or what the store said beside
// err.
func (r *request) readFailed(info *store.Info, version string, err error) error {
	h := r.w.Header()
	if info != nil && info.DeleteMarker {
		h.Set("X-Amz-Delete-Marker", "true")
		h.Set("X-Amz-Version-Id", info.Version)
	}
	if errors.Is(err, store.ErrDeleteMarker) {
		h.Set("Allow", "DELETE")
		if info != nil {
			h.Set("Last-Modified", httpTime(info.Modified))
		}
	}
	return versionError(version, err)
}

// versionError tells a version that cannot be one from one that is not there.
func versionError(version string, err error) error {
	if errors.Is(err, store.ErrNoVersion) && !plausibleVersion(version) {
		return invalidVersion(version)
	}
	return err
}

func invalidVersion(version string) error {
	return invalidArgument("versionId", version, "Invalid version id specified")
}

// plausibleVersion reports whether a version that the store does not have could
// be one at all. S3 tells a client that sends something else (a path, a
// placeholder) that it is wrong.
func plausibleVersion(v string) bool {
	if len(v) > 64 {
		return false
	}
	for _, c := range []byte(v) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return false
		}
	}
	return v != ""
}

// describe sets the fields of the answer for what is asked of an object, and
// returns the bytes that it consists of and its status.
func (r *request) describe(info *store.Info) (span, int, error) {
	whole := span{0, info.Size}
	if status, failed := r.readCondition("").check(info); status != 0 {
		r.setValidators(info)
		if status == http.StatusNotModified {
			return whole, status, nil
		}
		return whole, 0, fail("PreconditionFailed").with("Condition", failed)
	}
	part, partial, err := r.part(info)
	if err != nil {
		return whole, 0, err
	}
	r.setInfo(info)
	if err := r.setOverrides(); err != nil {
		return whole, 0, err
	}
	h := r.w.Header()
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.start, part.start+part.length-1, info.Size))
	}
	r.describeChecksum(info, part == whole)
	return part, status, nil
}

// describeChecksum adds the checksum of what is answered, where the client wants it: a
// client would compare that of the whole with the part that came.
func (r *request) describeChecksum(info *store.Info, whole bool) {
	if !strings.EqualFold(r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		return
	}
	number, err := r.partNumber()
	switch {
	case err == nil && number > 0 && number <= len(info.Parts):
		// A part has one to tell where the writer chose the algorithm; CRC64NVME is
		// what every upload gets without.
		if c := info.Parts[number-1].Checksum; c.Algorithm != "" && c.Value != "" && c.Algorithm != string(checksum.CRC64NVME) {
			r.w.Header().Set(checksum.Algorithm(c.Algorithm).Field(), c.Value)
			r.w.Header().Set("X-Amz-Checksum-Type", info.Checksum.Type)
		}
	case whole:
		setChecksum(r.w.Header(), info)
	}
}

// part returns the bytes that Range or partNumber ask for, and whether they are
// announced as part of the body.
func (r *request) part(info *store.Info) (span, bool, error) {
	whole := span{0, info.Size}
	field := r.Header.Get("Range")
	number, err := r.partNumber()
	if err != nil {
		return whole, false, err
	}
	if number == 0 {
		if field == "" {
			return whole, false, nil
		}
		if s, ok, err := parseRange(field, info.Size); ok || err != nil {
			return s, ok, err
		}
		return whole, false, nil
	}
	if field != "" {
		return whole, false, fail("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
	}
	count := max(len(info.Parts), 1)
	if number > count {
		return whole, false, fail("InvalidPartNumber").
			with("ActualPartCount", strconv.Itoa(count)).with("PartNumberRequested", strconv.Itoa(number))
	}
	if len(info.Parts) == 0 {
		return whole, info.Size > 0, nil
	}
	r.w.Header().Set("X-Amz-Mp-Parts-Count", strconv.Itoa(count))
	s := span{}
	for _, p := range info.Parts[:number-1] {
		s.start += p.Size
	}
	s.length = info.Parts[number-1].Size
	return s, s.length > 0, nil
}

// partNumber returns the part that a GET or a HEAD asks for, 0 for none.
func (r *request) partNumber() (int, error) {
	if !r.query.Has("partNumber") {
		return 0, nil
	}
	return partNumber(r.query.Get("partNumber"))
}

// partNumber reads the number of a part.
func partNumber(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > store.MaxPart {
		return 0, invalidArgument("partNumber", v, "Part number must be an integer between 1 and 10000, inclusive.")
	}
	return n, nil
}
