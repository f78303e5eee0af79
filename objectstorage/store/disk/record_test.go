package disk

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

func records() []*record {
	return []*record{
		{seq: 1, null: true},
		{seq: 1 << 60, marker: true, older: true, nullSeq: 7, modified: -1},
		{seq: 5, older: true, modified: 1 << 60, size: 1 << 40, sum: [16]byte{1, 2}, parts: 10_000, body: location{bodyManifest, 9}},
		{seq: 6, size: 3, body: location{bodyInline, 1}, attributes: attributes{
			ContentType: "image/svg+xml", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "inline", CacheControl: "no-cache",
			Expires: "never", StorageClass: "GLACIER", Redirect: "/x", Checksum: store.Checksum{Algorithm: "CRC32", Type: "COMPOSITE", Value: "x"},
			User: map[string]string{"a": "", "b": strings.Repeat("x", 3000)}, Tags: []store.Tag{{Key: "k", Value: "v"}, {Key: "", Value: "w"}},
		}},
	}
}

func TestARecordComesBack(t *testing.T) {
	row := latestRow(7, "key")
	for _, r := range records() {
		b := r.encode(row)
		got, err := decodeRecord(row, b, false)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		brief, err := decodeRecord(row, b, true)
		if err != nil || brief.size != r.size || brief.ContentType != r.ContentType || brief.Checksum != r.Checksum ||
			brief.StorageClass != r.StorageClass || brief.User != nil {
			t.Errorf("in brief %+v came back as %+v, %v", r, brief, err)
		}
		if size, marker, err := decodeSize(row, b); err != nil || size != r.size || marker != r.marker {
			t.Errorf("the size of %+v is %d, marker %v, %v", r, size, marker, err)
		}
		if _, err := decodeRecord(latestRow(7, "another"), b, false); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("in another row: %v, want ErrCorrupt", err)
		}
		for i := range b {
			broken := bytes.Clone(b)
			broken[i] ^= 0x10
			if _, err := decodeRecord(row, broken, false); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("with byte %d changed: %v, want ErrCorrupt", i, err)
			}
			if _, err := decodeRecord(row, b[:i], false); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("cut off after %d bytes: %v, want ErrCorrupt", i, err)
			}
		}
	}
}

// A fuzzer finds no checksum: every decoder is given the right one.
func FuzzDecoders(f *testing.F) {
	row := []byte("\x01\x00\x00\x00\x01key")
	for _, r := range records() {
		b := r.encode(row)
		f.Add(b[:len(b)-4])
	}
	b := encodeBucket(row, 3, &store.Bucket{Name: "b", Versioning: store.Enabled, Documents: map[string][]byte{"cors": []byte("x")}})
	f.Add(b[:len(b)-4])
	b = encodeManifest(row, []part{{number: 1, size: 5, body: location{bodyFile, 3}}, {number: 10_000, checksum: store.Checksum{Value: "x"}}})
	f.Add(b[:len(b)-4])
	b = encodeUpload(row, &store.Multipart{Attributes: attributes{ContentType: "x"}})
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, value []byte) {
		value = seal(row, bytes.Clone(value))
		if r, err := decodeRecord(row, value, false); err == nil {
			again, err := decodeRecord(row, r.encode(row), false)
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
			if r.size < 0 || r.parts > store.MaxPart || r.body.kind > bodyManifest {
				t.Errorf("decoded %+v", r)
			}
		} else if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
		if id, b, err := decodeBucket(row, value); err == nil {
			id2, again, err := decodeBucket(row, encodeBucket(row, id, b))
			if err != nil || id2 != id || !reflect.DeepEqual(again, b) {
				t.Errorf("%+v became %+v, %v", b, again, err)
			}
		}
		if parts, err := decodeManifest(row, value); err == nil {
			again, err := decodeManifest(row, encodeManifest(row, parts))
			if err != nil || !reflect.DeepEqual(again, parts) {
				t.Errorf("%+v became %+v, %v", parts, again, err)
			}
		}
		if m, err := decodeUpload(row, value, "k", 1); err == nil {
			again, err := decodeUpload(row, encodeUpload(row, &m), "k", 1)
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
	})
}

// FuzzEscape checks that escaped keys sort as the keys do, whatever follows them,
// and that none is the beginning of another.
func FuzzEscape(f *testing.F) {
	for _, a := range []string{"", "a", "a\x00", "a\x00b", "\x00", "\x00\x00", "\x00\x01", "\x01", "é"} {
		f.Add(a, "a", uint64(1), uint64(1<<63))
	}
	f.Fuzz(func(t *testing.T, a, b string, idA, idB uint64) {
		rowA, rowB := uploadRow(1, a, idA), uploadRow(1, b, idB)
		want := strings.Compare(a, b)
		if want == 0 {
			switch {
			case idA < idB:
				want = -1
			case idA > idB:
				want = 1
			}
		}
		if got := bytes.Compare(rowA, rowB); got != want {
			t.Errorf("%q %d and %q %d compare as %d, want %d", a, idA, b, idB, got, want)
		}
		if a != b && bytes.HasPrefix(rowA, olderRows(1, b)) {
			t.Errorf("a row of %q is among those of %q", a, b)
		}
		key, id, ok := splitID(rowA)
		if !ok || key != a || id != idA {
			t.Errorf("%q %d came back as %q %d, %v", a, idA, key, id, ok)
		}
		if prefix := escape(bucketRows(rowUpload, 1, 0), a, false); strings.HasPrefix(b, a) && a != "" && bytes.Compare(prefix, rowB) > 0 {
			t.Errorf("the rows from %q on leave out %q", a, b)
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add("0000000000001", uint64(1))
	f.Add("null", uint64(1<<63))
	f.Fuzz(func(t *testing.T, s string, n uint64) {
		if id, ok := parseID(s); ok && formatID(id) != s {
			t.Errorf("%q is taken for %d, which is %q", s, id, formatID(id))
		}
		if id, ok := parseID(formatID(n)); n != 0 && (!ok || id != n) {
			t.Errorf("%d came back as %d, %v", n, id, ok)
		}
		if m := n + 1; m > n && formatID(n) >= formatID(m) {
			t.Errorf("%d and %d are written %q and %q", n, m, formatID(n), formatID(m))
		}
	})
}
