package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// content is a body by what it is made of. A nil one is no object.
type content struct {
	seed uint64
	size int
}

func newContent(size int) *content { return &content{rand.Uint64(), size} }

func (c *content) String() string {
	if c == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d bytes of %x", c.size, c.seed)
}

func (c *content) bytes() []byte {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], c.seed)
	b := make([]byte, c.size)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// A state is what a key may hold: one content, or, where the answer to a write was
// lost, any of several.
type state []*content

// now is the content of a key that is not in doubt.
func (s state) now() *content {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

// A writer writes to its keys and remembers what was acknowledged.
type writer struct {
	*crash
	name   string
	keys   map[string]state
	upload *upload // an unfinished one, which has to survive

	versions map[string]*content // of one key, by their identifiers
	maybe    []*content          // versions whose acknowledgement was lost
}

// upload is an upload in parts.
type upload struct {
	key, id  string
	parts    []types.CompletedPart
	contents []*content
	// It may have become an object, and that may have been removed.
	finishing, removing bool
}

// whole is what the object will hold. It is given by its parts' contents.
func (u *upload) whole() []byte {
	var b []byte
	for _, c := range u.contents {
		b = append(b, c.bytes()...)
	}
	return b
}

func newWriter(c *crash, n int) *writer {
	return &writer{crash: c, name: fmt.Sprintf("w%d", n), keys: map[string]state{}, versions: map[string]*content{}}
}

func (w *writer) present() (n int) {
	for _, s := range w.keys {
		if s.now() != nil {
			n++
		}
	}
	return n
}

// step does one thing at random.
func (w *writer) step(ctx context.Context, t *testing.T, round int) {
	key := fmt.Sprintf("%s/%02d", w.name, rand.IntN(30))
	size := rand.IntN(4096)
	switch dice := rand.IntN(100); {
	case dice < 35:
		w.write(t, key, newContent(size), func(body []byte) error { return w.putS3(ctx, key, body, nil) })
	case dice < 45: // at the border of what has a file of its own
		w.write(t, key, newContent(64<<10-1+rand.IntN(3)), func(body []byte) error { return w.putS3(ctx, key, body, nil) })
	case dice < 52:
		w.write(t, key, newContent(100_000+rand.IntN(2_000_000)), func(body []byte) error { return w.putS3(ctx, key, body, nil) })
	case dice < 62:
		w.write(t, key, nil, func([]byte) error {
			_, err := w.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(crashBucket), Key: &key})
			return err
		})
	case dice < 70:
		w.copy(ctx, t, key, fmt.Sprintf("%s/%02d", w.name, rand.IntN(30)))
	case dice < 78:
		w.conditional(ctx, t, key, newContent(size))
	case dice < 84:
		w.compete(ctx, t, fmt.Sprintf("contest/%d/%d", round, rand.IntN(20)))
	case dice < 92:
		w.version(ctx, t, newContent(size))
	case dice < 96:
		w.part(ctx, t)
	default:
		w.simple(ctx, t, newContent(size))
	}
}

// verdict says what is known of a write by the error that it ended with: it was
// done, it was not, or, where no answer came, nobody knows.
func (c *crash) verdict(t *testing.T, what string, err error) (done, known bool) {
	switch {
	case err == nil:
		c.acknowledged.Add(1)
		return true, true
	case c.killed.Load() && status(err) == 0:
		c.doubtful.Add(1)
		return false, false
	case status(err) == http.StatusPreconditionFailed:
		return false, true
	}
	t.Errorf("%s: %v", what, err)
	return false, false
}

// write brings a key to another content.
func (w *writer) write(t *testing.T, key string, to *content, send func(body []byte) error) {
	var body []byte
	if to != nil {
		body = to.bytes()
	}
	w.started.Add(1)
	err := send(body)
	switch done, known := w.verdict(t, "write "+key, err); {
	case done:
		w.keys[key] = state{to}
	case !known:
		w.keys[key] = state{w.keys[key].now(), to}
	}
}

func (w *writer) putS3(ctx context.Context, key string, body []byte, change func(*s3.PutObjectInput)) error {
	in := &s3.PutObjectInput{Bucket: aws.String(crashBucket), Key: &key, Body: bytes.NewReader(body)}
	if change != nil {
		change(in)
	}
	_, err := w.s3.PutObject(ctx, in)
	return err
}

// simple writes by the simple door. Its keys are in the bucket files, so they are
// remembered under another name.
func (w *writer) simple(ctx context.Context, t *testing.T, to *content) {
	w.write(t, "files/"+w.name, to, func(body []byte) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+w.storage.address+"/files/"+w.name, bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := w.http.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode > 201 {
			return errors.New(resp.Status)
		}
		return nil
	})
}

func (w *writer) copy(ctx context.Context, t *testing.T, key, from string) {
	source := w.keys[from]
	if len(source) != 1 || source.now() == nil || from == key {
		return
	}
	w.write(t, key, source.now(), func([]byte) error {
		_, err := w.s3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String(crashBucket), Key: &key, CopySource: aws.String(crashBucket + "/" + from)})
		return err
	})
}

// conditional writes only where nothing is, and knows what has to come of it.
func (w *writer) conditional(ctx context.Context, t *testing.T, key string, to *content) {
	before := w.keys[key]
	w.write(t, key, to, func(body []byte) error {
		err := w.putS3(ctx, key, body, func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
		if there := before.now() != nil; err == nil && there || status(err) == http.StatusPreconditionFailed && !there {
			t.Errorf("If-None-Match: * over %v: %v", before.now(), err)
		}
		return err
	})
}

// compete wants to be the one that creates a key.
func (w *writer) compete(ctx context.Context, t *testing.T, key string) {
	x, mine := w.contest(key), newContent(200)
	x.mu.Lock()
	x.entered = append(x.entered, mine)
	x.mu.Unlock()
	w.started.Add(1)
	err := w.putS3(ctx, key, mine.bytes(), func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
	// A conditional write that meets another under way may be told to try again.
	if status(err) == http.StatusConflict {
		return
	}
	if done, _ := w.verdict(t, "create "+key, err); done {
		x.mu.Lock()
		x.winners = append(x.winners, mine)
		x.mu.Unlock()
	}
}

// version adds a version to the writer's key in the bucket that keeps them, and
// removes one where there are many.
func (w *writer) version(ctx context.Context, t *testing.T, to *content) {
	w.started.Add(1)
	if len(w.versions) > 20 {
		for id := range w.versions {
			was := w.versions[id]
			delete(w.versions, id)
			_, err := w.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(versionsBucket), Key: &w.name, VersionId: &id})
			if done, _ := w.verdict(t, "delete a version", err); !done {
				w.maybe = append(w.maybe, was)
			}
			return
		}
	}
	out, err := w.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(versionsBucket), Key: &w.name, Body: bytes.NewReader(to.bytes())})
	if done, _ := w.verdict(t, "put a version", err); done {
		w.versions[aws.ToString(out.VersionId)] = to
	} else {
		w.maybe = append(w.maybe, to)
	}
}

// part goes one step further with the writer's upload in parts: it begins it, adds
// a part, or completes it.
func (w *writer) part(ctx context.Context, t *testing.T) {
	w.started.Add(1)
	bucket := aws.String(crashBucket)
	u := w.upload
	switch {
	case u == nil:
		key := w.name + "/parts"
		out, err := w.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key})
		if done, _ := w.verdict(t, "begin an upload", err); done {
			w.upload = &upload{key: key, id: aws.ToString(out.UploadId)}
		}
	case len(u.parts) < 2:
		// The last one may be small.
		number, c := int32(len(u.parts)+1), newContent([]int{5 << 20, 1 + rand.IntN(200_000)}[len(u.parts)])
		out, err := w.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: &u.key, UploadId: &u.id, PartNumber: &number, Body: bytes.NewReader(c.bytes())})
		if done, _ := w.verdict(t, "upload a part", err); done {
			u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
			u.contents = append(u.contents, c)
		}
	default:
		u.finishing = true
		_, err := w.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: &u.key, UploadId: &u.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}})
		if done, _ := w.verdict(t, "complete an upload", err); done {
			w.completed(ctx, t)
		}
	}
}

// completed reads the object of an upload and removes it, so that the next one
// begins on nothing.
func (w *writer) completed(ctx context.Context, t *testing.T) {
	u := w.upload
	got, err := w.body(ctx, crashBucket, u.key, "")
	if err == nil && !bytes.Equal(got, u.whole()) {
		t.Errorf("%s was completed and holds %d other bytes", u.key, len(got))
	}
	if err == nil {
		u.removing = true
		_, err = w.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(crashBucket), Key: &u.key})
	}
	if err == nil {
		w.upload = nil
	} else if !w.killed.Load() {
		t.Errorf("%s was completed: %v", u.key, err)
	}
}

// body reads an object.
func (c *crash) body(ctx context.Context, bucket, key, version string) ([]byte, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.VersionId = &version
	}
	out, err := c.s3.GetObject(ctx, in)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

var errOther = errors.New("it holds something else")

// read reads an object and returns which of several contents it has.
func (c *crash) read(ctx context.Context, bucket, key, version string, any []*content) (*content, error) {
	got, err := c.body(ctx, bucket, key, version)
	absent := code(err) == "NoSuchKey"
	if err != nil && !absent {
		return nil, err
	}
	for _, x := range any {
		if absent == (x == nil) && (absent || len(got) == x.size && bytes.Equal(got, x.bytes())) {
			return x, nil
		}
	}
	if absent {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %d bytes", errOther, len(got))
}

// check reads the writer's keys and settles its doubts.
func (w *writer) check(t *testing.T, round int) {
	ctx := t.Context()
	for key, any := range w.keys {
		bucket, name := crashBucket, key
		if strings.HasPrefix(key, "files/") {
			bucket, name = filesBucket, w.name
		}
		got, err := w.read(ctx, bucket, name, "", any)
		if err != nil {
			t.Errorf("round %d: %s shall hold one of %v: %v", round, key, any, err)
			continue
		}
		if len(any) > 1 && got == any[1] {
			w.happened.Add(1)
		}
		w.keys[key] = state{got}
	}
	w.checkUpload(ctx, t, round)
	w.checkVersions(ctx, t, round)
}

const filesBucket = "files"

// checkUpload: an upload in parts is there with its parts, or has become the
// object, and never both.
func (w *writer) checkUpload(ctx context.Context, t *testing.T, round int) {
	u := w.upload
	if u == nil {
		return
	}
	list, err := w.s3.ListParts(ctx, &s3.ListPartsInput{Bucket: aws.String(crashBucket), Key: &u.key, UploadId: &u.id})
	switch {
	case err == nil:
		for _, part := range u.parts {
			if !slices.ContainsFunc(list.Parts, func(p types.Part) bool { return *p.PartNumber == *part.PartNumber && *p.ETag == *part.ETag }) {
				t.Errorf("round %d: part %d of %s was acknowledged and is not in %+v", round, *part.PartNumber, u.key, list.Parts)
			}
		}
		u.finishing = false
		if _, err := w.body(ctx, crashBucket, u.key, ""); code(err) != "NoSuchKey" {
			t.Errorf("round %d: the upload of %s goes on, and there is an object: %v", round, u.key, err)
		}
	case code(err) == "NoSuchUpload" && u.finishing:
		if _, err := w.body(ctx, crashBucket, u.key, ""); code(err) == "NoSuchKey" && u.removing {
			w.upload = nil
			return
		}
		w.completed(ctx, t)
	default:
		t.Errorf("round %d: the upload of %s with %d parts is lost: %v", round, u.key, len(u.parts), err)
	}
}

// checkVersions: each acknowledged version is there; of the others there are only
// those that were in doubt.
func (w *writer) checkVersions(ctx context.Context, t *testing.T, round int) {
	list, err := w.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(versionsBucket), Prefix: &w.name})
	if err != nil {
		t.Errorf("round %d: list the versions: %v", round, err)
		return
	}
	found := map[string]*content{}
	for _, v := range list.Versions {
		any := w.maybe
		if acknowledged := w.versions[*v.VersionId]; acknowledged != nil {
			any = []*content{acknowledged}
		}
		got, err := w.read(ctx, versionsBucket, w.name, *v.VersionId, any)
		if err != nil {
			t.Errorf("round %d: version %s of %s shall hold one of %v: %v", round, *v.VersionId, w.name, any, err)
		}
		found[*v.VersionId] = got
	}
	for id, want := range w.versions {
		if found[id] == nil {
			t.Errorf("round %d: version %s of %s (%v) was acknowledged and is not listed", round, id, w.name, want)
		}
	}
	w.versions, w.maybe = found, nil
}
